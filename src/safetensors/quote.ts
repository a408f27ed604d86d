const maxShown = 200;

/**
 * Text from an input (a file or tensor name, a key) made safe to print: JSON-quoted, with control, format and
 * line-separator characters escaped, so that no name can move the cursor, recolour or reverse a terminal line.
 * Cut after 200 characters, as a name may be as long as the whole header.
 */
export function quote(text: string): string {
  const shown = text.length > maxShown ? `${text.slice(0, maxShown)}...` : text;
  return JSON.stringify(shown).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escapeUnits);
}

function escapeUnits(char: string): string {
  let escaped = "";
  for (let i = 0; i < char.length; i++) escaped += `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`;
  return escaped;
}
