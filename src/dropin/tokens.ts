/**
 * SQL as SQLite cuts it into tokens, as far as it takes to tell where a statement starts and ends.
 *
 * White space and comments are left out. Quoted names and strings come without their quotes. What
 * SQLite itself would reject (an unfinished string, an odd character) comes out as some token: the
 * statement fails when SQLite sees it, and nothing after it is executed.
 */
export type Token =
  /** A keyword, a bare name or a number. */
  | { readonly kind: "word"; readonly text: string }
  /** `"a"`, `[a]`, `` `a` `` or `'a'`. */
  | { readonly kind: "quoted"; readonly text: string }
  /** A parameter, or one character of anything else. */
  | { readonly kind: "other"; readonly text: string }
  | { readonly kind: "end"; readonly text: "" };

const END: Token = { kind: "end", text: "" };

export class Tokens {
  readonly #sql: string;
  #at = 0;
  /** The token last read. */
  current: Token = END;

  constructor(sql: string) {
    const nul = sql.indexOf("\0"); // SQLite reads up to there
    this.#sql = nul < 0 ? sql : sql.slice(0, nul);
  }

  next(): Token {
    this.current = this.#read();
    return this.current;
  }

  /** Is the token last read this character, and not quoted? */
  at(character: string): boolean {
    return this.current.text === character && this.current.kind === "other";
  }

  /** The token last read in upper case, if it may be a keyword; else "". */
  get keyword(): string {
    return this.current.kind === "word" ? this.current.text.toUpperCase() : "";
  }

  /** Has the statement ended? */
  get ended(): boolean {
    return this.current.kind === "end" || this.at(";");
  }

  #read(): Token {
    this.#skipBlank();
    const sql = this.#sql;
    const start = this.#at;
    if (start >= sql.length) return END;
    const code = sql.charCodeAt(start);
    if (isNameCode(code)) {
      this.#skipName();
      return { kind: "word", text: sql.slice(start, this.#at) };
    }
    switch (sql[start]) {
      case '"':
      case "'":
      case "`":
        return this.#quoted(sql[start] as string);
      case "[":
        return this.#bracketed();
      case "$":
      case "@":
      case ":":
      case "#":
        this.#skipParameter();
        return { kind: "other", text: sql.slice(start, this.#at) };
      default:
        this.#at++;
        return { kind: "other", text: sql[start] as string };
    }
  }

  #skipBlank(): void {
    const sql = this.#sql;
    for (;;) {
      const code = sql.charCodeAt(this.#at);
      if (code === 32 || (code >= 9 && code <= 13) || code === 0xfeff) this.#at++;
      else if (sql.startsWith("--", this.#at)) this.#skipPast("\n", 2);
      else if (sql.startsWith("/*", this.#at) && this.#at + 2 < sql.length) this.#skipPast("*/", 2);
      else return;
    }
  }

  /** Moves past the next `mark` from `ahead` on, or to the end. */
  #skipPast(mark: string, ahead: number): void {
    const found = this.#sql.indexOf(mark, this.#at + ahead);
    this.#at = found < 0 ? this.#sql.length : found + mark.length;
  }

  #skipName(): void {
    while (isNameCode(this.#sql.charCodeAt(this.#at)) || this.#sql[this.#at] === "$") this.#at++;
  }

  /** A doubled quote stands for one. */
  #quoted(quote: string): Token {
    const start = this.#at + 1;
    do this.#skipPast(quote, 1);
    while (this.#sql[this.#at] === quote);
    const end = this.#closedBy(quote, start) ? this.#at - 1 : this.#at;
    return { kind: "quoted", text: this.#sql.slice(start, end).replaceAll(quote + quote, quote) };
  }

  #bracketed(): Token {
    const start = this.#at + 1;
    this.#skipPast("]", 1);
    const end = this.#closedBy("]", start) ? this.#at - 1 : this.#at;
    return { kind: "quoted", text: this.#sql.slice(start, end) };
  }

  #closedBy(mark: string, start: number): boolean {
    return this.#at > start && this.#sql[this.#at - 1] === mark;
  }

  /** `$name`, and in the manner of Tcl `$name::name(anything)`: quotes in there are no quotes. */
  #skipParameter(): void {
    const sql = this.#sql;
    const start = ++this.#at;
    for (;;) {
      this.#skipName();
      if (!sql.startsWith("::", this.#at)) break;
      this.#at += 2;
    }
    if (sql[this.#at] !== "(" || this.#at === start) return;
    const rest = /[^\t-\r )]*\)?/y;
    rest.lastIndex = this.#at;
    rest.test(sql);
    this.#at = rest.lastIndex;
  }
}

/** A letter, a digit, an underscore, or anything outside ASCII. */
function isNameCode(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 65 && code <= 90) ||
    (code >= 48 && code <= 57) ||
    code === 95 ||
    code >= 128
  );
}
