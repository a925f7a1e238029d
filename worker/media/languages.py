"""Languages of tracks: which tags mean the same, and the tag that a container takes. Pure.

Files and users write one language in several ways: `fr`, `fra` and `fre` are French, by ISO 639-1 and 639-2.
"""

import re

_TWO_LETTERS = (
    "aaaar ababk aeave afafr akaka amamh anarg arara asasm avava ayaym azaze babak bebel bgbul bhbih bibis bmbam "
    "bnben bobod brbre bsbos cacat ceche chcha cocos crcre csces cuchu cvchv cycym dadan dedeu dvdiv dzdzo eeewe "
    "elell eneng eoepo esspa etest eueus fafas ffful fifin fjfij fofao frfra fyfry gagle gdgla glglg gngrn guguj "
    "gvglv hahau heheb hihin hohmo hrhrv hthat huhun hyhye hzher iaina idind ieile igibo iiiii ikipk ioido isisl "
    "itita iuiku jajpn jvjav kakat kgkon kikik kjkua kkkaz klkal kmkhm knkan kokor krkau kskas kukur kvkom kwcor "
    "kykir lalat lbltz lglug lilim lnlin lolao ltlit lulub lvlav mgmlg mhmah mimri mkmkd mlmal mnmon mrmar msmsa "
    "mtmlt mymya nanau nbnob ndnde nenep ngndo nlnld nnnno nonor nrnbl nvnav nynya ococi ojoji omorm orori ososs "
    "papan pipli plpol pspus ptpor quque rmroh rnrun roron rurus rwkin sasan scsrd sdsnd sesme sgsag sisin skslk "
    "slslv smsmo snsna sosom sqsqi srsrp ssssw stsot susun svswe swswa tatam tetel tgtgk ththa titir tktuk tltgl "
    "tntsn toton trtur tstso tttat twtwi tytah uguig ukukr ururd uzuzb veven vivie vovol wawln wowol xhxho yiyid "
    "yoyor zazha zhzho zuzul"
)
_BIBLIOGRAPHIC = (
    "tibbod czeces welcym gerdeu greell baqeus perfas frefra armhye iceisl geokat maomri macmkd maymsa burmya dutnld "
    "rumron sloslk albsqi chizho"
)
_THREE_LETTERS = {pair[:-3]: pair[-3:] for pair in (*_TWO_LETTERS.split(), *_BIBLIOGRAPHIC.split())}
"""Code of two letters, or bibliographic code of three → the terminological code of three letters."""
_SHORT = {pair[2:]: pair[:2] for pair in _TWO_LETTERS.split()}
_REGION = re.compile(r"[A-Za-z0-9]{2,8}(-[A-Za-z0-9]{2,8}){0,2}")
UNKNOWN = "und"


def three_letters(tag: str) -> str:
    """The language of a tag in three letters, as in ISO 639-2/T; `und` for a tag without a known form."""
    language = tag.replace("_", "-").partition("-")[0].lower()
    code = _THREE_LETTERS.get(language, language)
    return code if len(code) == 3 and code.isascii() and code.isalpha() else UNKNOWN


def short(tag: str) -> str:
    """The shortest form of a language tag, as on the web: `en` for `eng`, with its region if it names one."""
    code, region = three_letters(tag), tag.replace("_", "-").partition("-")[2]
    base = _SHORT.get(code, code)
    return f"{base}-{region}" if _REGION.fullmatch(region) and code != UNKNOWN else base


def matches(wanted: str, tag: str) -> bool:
    """Whether a track with this tag has the wanted language. Regions count only where both name one."""
    regions = [text.replace("_", "-").partition("-")[2].lower() for text in (wanted, tag)]
    known = three_letters(wanted) != UNKNOWN or wanted.lower() == UNKNOWN
    return known and three_letters(wanted) == three_letters(tag) and (regions[0] == regions[1] or not all(regions))
