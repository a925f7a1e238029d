// A request as a command for a shell. Pure.

// A word that a POSIX shell takes as it is, whatever is in it.
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// `curl` for a POST of a body. `hasToken` adds the token from the shell's variable TOKEN: the page's own is never shown.
export function command(url, body, { hasToken = false } = {}) {
  const lines = [
    `curl -X POST ${quoted(url)}`,
    ...(hasToken ? ['-H "Authorization: Bearer $TOKEN"'] : []),
    `-H ${quoted("Content-Type: application/json")}`,
    `--data-raw ${quoted(JSON.stringify(body, null, 2))}`,
  ];
  return lines.join(" \\\n  ");
}

const SCORE_FLAGS = { scale: "--scale", min: "--min-vmaf", model: "--model", subsample: "--subsample", align: "--align", threads: "--threads" };
const METRICS = ["psnr", "ssim", "ms-ssim"];

// The same as a line for the command `elasticrecode`; null where it has no option for a field. `user` is empty for the caller's own.
export function elasticrecode(kind, body, { url, user = "" }) {
  const { input, origin, output, profile = {}, priority, budget = {}, inputs, manifest, prefix, suffixes } = body;
  const given = (flag, value) => (value === undefined || value === null || value === "" ? [] : [`${flag} ${quoted(`${value}`)}`]);
  const named = profile.preset !== undefined && Object.keys(profile).length === 1;
  const shared = [...given("--output", output), ...given("--priority", priority), ...given("--user", user), ...given("--url", url)];
  if (kind === "score" && !named) {
    const score = scoreWords(profile, given);
    return score && [`elasticrecode vmaf ${quoted(input ?? "")} ${quoted(origin ?? "")}`, ...score, ...shared].join(" \\\n  ");
  }
  const typed = named ? given("--preset", profile.preset) : ["--profile -"];
  const heads = {
    score: [`elasticrecode vmaf ${quoted(input ?? "")} ${quoted(origin ?? "")}`],
    batch: ["elasticrecode batch submit", ...(inputs ?? []).map(quoted), ...given("--manifest", manifest), ...given("--prefix", prefix),
      ...(suffixes ?? []).map((suffix) => `--suffix ${quoted(suffix)}`)],
  };
  const costs = kind === "batch" || kind === "score" ? [] : [...given("--budget-dollars", budget?.dollars), ...given("--budget-seconds", budget?.seconds)];
  const line = [...(heads[kind] ?? [`elasticrecode submit ${quoted(input ?? "")}`]), ...typed, ...costs, ...shared].join(" \\\n  ");
  return named ? line : `printf %s ${quoted(JSON.stringify(profile, null, 2))} | ${line}`;
}

function scoreWords({ vmaf = {}, ...others }, given) {
  const known = [...Object.keys(SCORE_FLAGS), ...METRICS];
  if (Object.keys(others).length || Object.keys(vmaf).some((name) => !known.includes(name))) return null;
  return [...Object.entries(SCORE_FLAGS).flatMap(([name, flag]) => given(flag, vmaf[name])),
    ...METRICS.filter((name) => vmaf[name] === "enable").map((name) => `--${name}`)];
}
