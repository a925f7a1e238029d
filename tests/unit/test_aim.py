"""A film gets the VMAF that a job wants: on average within the tolerance, in every chunk above the floor."""

import math
import random
from collections.abc import Callable

import pytest
from msgspec import json

from elasticrecode.media.profiles import Ffmpeg
from worker.media.rates import Span
from worker.quality import aim as aims
from worker.quality.aim import Aim, Probe, Scored
from worker.quality.curve import Curve, curved, scale_of

X264 = Ffmpeg(codec="libx264", scale="480:270")
AIM = Aim(93.0, 0.5, 91.0, "vmaf_v0.6.1", 480, 270)
CODECS = ("libx264", "libx265", "libsvtav1")
WINDOW = 2.0


class Film:
    """A film in scenes, window by window: what its VMAF lacks to 100 at the encoder's middle factor, and its weight."""

    def __init__(self, seed: int, windows: int, codec: str = "libx264", shift: float = 0.0) -> None:
        chance = random.Random(seed)
        self.scale = scale_of(Ffmpeg(codec=codec, scale="480:270"))
        self.slope = self.scale.slope * chance.uniform(0.75, 1.3)
        self.losses: list[float] = []
        self.spans: list[Span] = []
        while len(self.losses) < windows:
            scene = chance.gauss(math.log(7) + shift, 0.35)
            for _ in range(chance.randint(3, 30)):
                self.losses.append(scene + chance.gauss(0, 0.1))
                self.spans.append(Span(WINDOW, 1e5 * math.exp(0.5 * scene + chance.gauss(0, 0.3))))
        del self.losses[windows:], self.spans[windows:]

    def vmaf(self, window: int, crf: float) -> float:
        """VMAF of a window: a saturating curve, which bends a little more than the model of the product."""
        step = crf - self.scale.middle
        return max(0.0, 99.5 - math.exp(self.losses[window] + self.slope * (step - 0.004 * step * step)))

    def bits(self, window: int, crf: float) -> float:
        return WINDOW * 3e5 * math.exp(self.losses[window] - math.log(2) / self.scale.halving * crf)

    def probe(self, window: int, crf: float) -> Probe:
        return Probe(window, crf, self.vmaf(window, crf), self.bits(window, crf), 50)

    def mean(self, crf: float) -> float:
        return sum(self.vmaf(window, crf) for window in range(len(self.spans))) / len(self.spans)


def search(film: Film, encode: Ffmpeg, aim: Aim) -> tuple[Curve, int]:
    """The curve of a film, and the rounds that it took."""
    chosen, probes, rounds = aims.scouts(film.spans), list[Probe](), 0
    crf: float | None = aims.first_crf(encode, aim)
    while crf is not None:
        rounds += 1
        probes += [film.probe(window, crf) for window in chosen]
        crf = aims.next_crf(encode, aim, film.spans, probes)
        chosen = aims.windows(film.spans)
    return aims.learnt(encode, aim, film.spans, probes), rounds


class Course:
    """A film encoded in chunks of so many windows by so many workers, with its repeats."""

    def __init__(self, film: Film, curve: Curve, aim: Aim, length: int, workers: int) -> None:
        places = [range(at, min(at + length, len(film.spans))) for at in range(0, len(film.spans), length)]
        weights = [sum(film.spans[window].weight for window in place) for place in places]
        self.spans = [Span(WINDOW * len(place), weight) for place, weight in zip(places, weights, strict=True)]
        self.film, self.places, self.repeats = film, places, 0
        self.results: dict[int, Scored] = {}
        self.tries: dict[int, list[Scored]] = {}
        running: dict[int, float] = {}
        for number in range(len(self.spans)):
            running[number] = aims.chunk_crf(curve, aim, self.spans, number, self.results, running)
            if len(running) == workers or number == len(self.spans) - 1:
                self.results |= {each: self.encoded(curve, aim, each, crf) for each, crf in running.items()}
                running = {}
        for _ in range(3):
            wanted = aims.corrections(curve, aim, self.spans, self.results, self.tries)
            self.repeats += len(wanted)
            for number, crf in wanted.items():
                self.results[number] = self.scored(number, crf)
                self.tries[number].append(self.results[number])

    def scored(self, number: int, crf: float) -> Scored:
        place = self.places[number]
        vmaf = sum(self.film.vmaf(window, crf) for window in place) / len(place)
        return Scored(crf, vmaf, sum(self.film.bits(window, crf) for window in place), 50 * len(place))

    def encoded(self, curve: Curve, aim: Aim, number: int, crf: float) -> Scored:
        tries = [self.scored(number, crf)]
        while (following := aims.again(curve, aim, self.spans[number], tries)) is not None:
            self.repeats += 1
            tries.append(self.scored(number, following))
        self.tries[number] = tries
        return max(tries, key=lambda one: one.vmaf)

    @property
    def mean(self) -> float:
        return sum(one.vmaf * one.frames for one in self.results.values()) / sum(
            one.frames for one in self.results.values()
        )


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("target", [85.0, 93.0, 96.0])
def test_a_film_of_one_kind_reaches_its_aim_by_a_few_rounds(codec: str, target: float) -> None:
    encode, aim = Ffmpeg(codec=codec, scale="480:270"), Aim(target, 0.5, target - 2, "vmaf_v0.6.1", 480, 270)
    for seed in range(20):
        film = Film(seed, 8, codec)
        film.losses = [min(max(film.losses[0], 1.7), 2.3)] * 8  # the encoder reaches each target
        curve, rounds = search(film, encode, aim)
        assert rounds <= 3
        assert film.mean(curve.crf) == pytest.approx(target, abs=0.5)
        assert curve.vmaf(curve.crf) == pytest.approx(target, abs=0.3)


def test_windows_stand_for_the_whole_film() -> None:
    errors = []
    for seed in range(30):
        film = Film(seed, 1000)
        curve = aims.learnt(X264, AIM, film.spans, [film.probe(n, 24.0) for n in aims.windows(film.spans)])
        errors.append(curve.points[0][1] - film.mean(24.0))
    assert math.sqrt(sum(error * error for error in errors) / len(errors)) < 0.9
    assert abs(sum(errors) / len(errors)) < 0.4


def test_the_number_of_windows_follows_the_length_of_the_film() -> None:
    counts = {length: len(aims.windows(Film(1, length).spans)) for length in (1, 5, 16, 80, 4000)}
    assert counts == {1: 1, 5: 2, 16: 3, 80: 10, 4000: 12}
    for length in counts:
        chosen = aims.windows(Film(1, length).spans)
        assert chosen == sorted(set(chosen))
        assert all(0 <= number < length for number in chosen)


def test_the_first_round_has_fewer_windows_and_the_second_corrects_it_by_those_in_common() -> None:
    film = Film(5, 120)
    few, many = aims.scouts(film.spans), aims.windows(film.spans)
    assert set(few) < set(many)
    assert len(few) == 4
    probes = [film.probe(number, 20.0) for number in few] + [film.probe(number, 28.0) for number in many]
    low, high = aims.learnt(X264, AIM, film.spans, probes).points
    assert aims.next_crf(X264, AIM, film.spans, probes[: len(few)]) is not None
    whole = aims.learnt(X264, AIM, film.spans, [film.probe(n, crf) for n in many for crf in (20.0, 28.0)]).points
    assert high == whole[1]
    assert low[1] == pytest.approx(whole[0][1], abs=0.4)
    assert low[2] == pytest.approx(whole[0][2], rel=0.1)


def test_a_film_at_the_end_of_the_scale_is_brought_back_by_bisection() -> None:
    encode, aim = X264, Aim(90.0, 0.5, 88.0, "vmaf_v0.6.1", 480, 270)
    film = Film(2, 9, shift=-2.5)
    film.losses, film.slope = [film.losses[0]] * 9, 4 * film.scale.slope
    curve, _ = search(film, encode, aim)
    course = Course(film, curve, aim, 3, 1)
    assert course.mean == pytest.approx(90.0, abs=0.5)


def test_a_window_counts_as_the_spans_that_are_like_it() -> None:
    spans = [Span(2.0, 10.0), Span(2.0, 11.0), Span(2.0, 12.0), Span(2.0, 1000.0)]
    probes = [Probe(1, 24.0, 97.0, 100.0, 50), Probe(3, 24.0, 85.0, 900.0, 50)]
    ((_, vmaf, bits),) = aims.learnt(X264, AIM, spans, probes).points
    assert vmaf == pytest.approx((2 * 97.0 + 2 * 85.0) / 4)
    assert bits == pytest.approx(2 * 100.0 + 2 * 900.0)


@pytest.mark.parametrize(("length", "workers"), [(30, 1), (30, 6), (5, 3)])
def test_chunks_steer_the_film_to_its_aim_and_repeat_what_misses(length: int, workers: int) -> None:
    repeats = chunks = 0
    for seed in range(12):
        film = Film(seed, 600)
        curve, _ = search(film, X264, AIM)
        course = Course(film, curve, AIM, length, workers)
        repeats, chunks = repeats + course.repeats, chunks + len(course.spans)
        assert course.mean == pytest.approx(93.0, abs=0.5)
        assert min(one.vmaf for one in course.results.values()) >= 91.0
    assert repeats < chunks / 2


def test_an_aim_above_what_the_encoder_reaches_ends_at_the_bound() -> None:
    film = Film(1, 100, shift=3.5)
    aim = Aim(99.0, 0.5, 97.0, "vmaf_v0.6.1", 480, 270)
    curve, rounds = search(film, X264, aim)
    course = Course(film, curve, aim, 20, 2)
    assert rounds <= 3
    assert {one.crf for one in course.results.values()} == {curve.least}
    assert curve.crf == curve.least
    assert course.repeats == 0


def test_an_aim_below_all_that_the_encoder_makes_ends_at_the_other_bound() -> None:
    film = Film(1, 100, shift=-5.0)
    aim = Aim(60.0, 0.5, 58.0, "vmaf_v0.6.1", 480, 270)
    curve, _ = search(film, X264, aim)
    course = Course(film, curve, aim, 20, 2)
    assert {one.crf for one in course.results.values()} == {curve.most}
    assert course.repeats == 0


def flat(vmaf: float = 93.0) -> Curve:
    """A curve through one round at the factor 24."""
    return Curve(24.0, [(24.0, vmaf, 1e6)], 0.13, 0.115, least=6.0, most=49.0)


def test_a_chunk_at_the_floor_is_kept_and_one_below_is_repeated_three_times_at_most() -> None:
    span = Span(60.0, 1e6)
    assert aims.again(flat(), AIM, span, [Scored(24.0, 91.0, 1e6, 1500)]) is None
    first = Scored(24.0, 88.0, 1e6, 1500)
    crf = aims.again(flat(), AIM, span, [first])
    assert crf is not None
    assert crf < 24.0
    second = Scored(crf, 90.0, 1e6, 1500)
    following = aims.again(flat(), AIM, span, [first, second])
    assert following is not None
    assert following < crf
    assert aims.again(flat(), AIM, span, [first, second, Scored(following, 90.5, 1e6, 1500)]) is None


def test_a_chunk_at_the_least_factor_is_not_repeated() -> None:
    assert aims.again(flat(), AIM, Span(60.0, 1e6), [Scored(6.0, 70.0, 1e6, 1500)]) is None


def test_a_film_within_the_tolerance_needs_no_correction() -> None:
    spans = [Span(60.0)] * 3
    results = {number: Scored(24.0, vmaf, 1e6, 1500) for number, vmaf in enumerate((92.0, 93.0, 94.9))}
    assert aims.corrections(flat(), AIM, spans, results) == {}


def test_the_fewest_chunks_correct_a_film() -> None:
    spans = [Span(60.0)] * 6
    low = {number: Scored(24.0, 92.3 - 0.1 * number, 1e6, 1500) for number in range(6)}
    wanted = aims.corrections(flat(), AIM, spans, low)
    assert 0 < len(wanted) < 3
    assert all(crf < 24.0 for crf in wanted.values())
    high = {number: Scored(24.0, 94.0, 1e6, 1500) for number in range(6)}
    assert all(crf > 24.0 for crf in aims.corrections(flat(), AIM, spans, high).values())


def test_a_film_of_one_chunk_is_corrected_as_a_whole() -> None:
    wanted = aims.corrections(flat(), AIM, [Span(10.0)], {0: Scored(24.0, 86.0, 1e6, 250)})
    assert wanted[0] == pytest.approx(24.0 - math.log(14 / 7) / 0.13, abs=0.05)


def test_corrections_bring_no_chunk_below_the_floor() -> None:
    results = {0: Scored(24.0, 91.2, 1e6, 1500), 1: Scored(24.0, 99.0, 1e6, 1500)}
    assert set(aims.corrections(flat(), AIM, [Span(60.0)] * 2, results)) == {1}


def test_a_film_has_the_tries_that_bring_it_to_its_aim_above_the_floor_with_the_fewest_bits() -> None:
    tries = {
        0: [Scored(24.0, 92.9, 9e5, 100), Scored(23.0, 93.1, 1e6, 100), Scored(18.0, 97.0, 4e6, 100)],
        1: [Scored(24.0, 80.0, 1e6, 100), Scored(20.0, 92.8, 2e6, 100)],
    }
    assert aims.selected(AIM, tries) == {0: 0, 1: 1}
    missed = {0: [Scored(24.0, 92.0, 1e6, 100), Scored(20.0, 96.0, 2e6, 100)], 1: [Scored(24.0, 89.5, 1e6, 100)]}
    assert aims.selected(AIM, missed) == {0: 1, 1: 0}


def test_a_hard_chunk_gets_a_lower_factor_before_it_is_encoded() -> None:
    curve = Curve(24.0, [(24.0, 93.0, 1e6)], 0.13, 0.115, lean=0.8, middle=math.log(1e4), least=6.0, most=49.0)
    spans = [Span(60.0, 60e4), Span(60.0, 60e4 * 3)]
    easy, hard = (aims.chunk_crf(curve, AIM, spans, number, {}, {}) for number in range(2))
    assert hard < easy
    assert curve.chunk_vmaf(hard, spans[1]) >= AIM.floor


def test_a_search_without_probes_is_refused() -> None:
    with pytest.raises(ValueError, match="probes"):
        aims.learnt(X264, AIM, [Span(2.0)], [])


def test_a_curve_survives_its_json() -> None:
    film = Film(3, 200)
    curve, _ = search(film, X264, AIM)
    assert json.decode(json.encode(curve), type=Curve) == curve


@pytest.mark.parametrize("bend", [lambda x: x * x, math.exp, math.sqrt])
def test_the_cubic_stays_between_its_points_and_rises_with_them(bend: Callable[[float], float]) -> None:
    points = [(x, bend(x)) for x in (1.0, 2.0, 4.0)]
    values = [curved(points, 1 + 3 * step / 100, 1.0) for step in range(101)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == pytest.approx((bend(1.0), bend(4.0)))
    assert curved(points, 2.0, 1.0) == pytest.approx(bend(2.0))


def test_short_films_are_scored_on_all_frames_and_long_ones_on_every_third() -> None:
    assert [aims.nth_of(seconds) for seconds in (5.0, 60.0, 61.0, 7200.0)] == [1, 1, 3, 3]


@pytest.mark.parametrize("mean", [92.4, 92.52, 92.6, 93.4, 93.48, 93.6])
def test_no_film_is_encoded_again_for_a_try_that_it_then_does_not_get(mean: float) -> None:
    first = Scored(24.0, mean, 1e6, 250)
    wanted = aims.corrections(flat(), AIM, [Span(10.0)], {0: first}, {0: [first]})
    if wanted:
        better = Scored(wanted[0], 93.0, 2e6 if wanted[0] < 24.0 else 5e5, 250)
        chosen = aims.selected(AIM, {0: [first, better]})
        assert chosen == {0: 1}
        assert aims.corrections(flat(), AIM, [Span(10.0)], {0: better}, {0: [first, better]}) == {}


def test_the_curve_of_few_windows_is_half_trusted_beside_the_usual_slope() -> None:
    def steps(windows: int) -> float:
        points = [(22.0, 97.0, 2e6), (26.0, 90.0, 1e6)]
        curve = Curve(24.0, points, 0.3, 0.115, least=6.0, most=49.0, usual=0.13, windows=windows)
        (crf,) = aims.corrections(curve, AIM, [Span(10.0)], {0: Scored(24.0, 90.0, 1e6, 250)}).values()
        return 24.0 - crf

    usual = math.log(10 / 7) / 0.13
    assert steps(12) < steps(1) < usual
