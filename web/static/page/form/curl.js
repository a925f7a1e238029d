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
