/*
 * The one lexer of all configuration files (services, profiles, cluster.conf, node.conf).
 *
 *   file     = { line "\n" }             at most FILE_BYTES_MAX bytes of UTF-8, no control
 * characters but tab and newline line     = [ pair | section ] [ comment ]    at most
 * LINE_BYTES_MAX bytes pair     = key "=" value             key = [a-z][a-z0-9-]*; blanks around
 * "=" do not count section  = "[" kind " " name "]"     only in cluster.conf comment  = "#" … at
 * the start of a line or after a blank, outside quotes value    = { word blank }            a word
 * with blanks, "#" or nothing in it is written "…", with \" and \\ inside
 *
 * Wrong lines are reported and skipped, so that one run shows every mistake; a file that is no text
 * is refused whole.
 */
#ifndef SUPERVISOR_CONFIG_LINES_H
#define SUPERVISOR_CONFIG_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/arena.h"
#include "src/config/report.h"
#include "src/config/service.h"

#define LINE_BYTES_MAX 4096u
#define FILE_BYTES_MAX (256u * 1024u)
#define LINE_WORDS_MAX 256u

/* Where a value stands, for messages. */
struct place {
	struct config_report *report;
	const char *file;
	int line;
	const char *key;
};

/* Reports "FILE:LINE: KEY: found "FOUND", expected EXPECTED"; always false, so that a parser can
 * return it. */
bool place_expected(const struct place *place, const char *found, const char *expected_fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Reports "FILE:LINE: KEY: TEXT"; always false. */
bool place_wrong(const struct place *place, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

enum line_kind { LINE_PAIR, LINE_SECTION };

struct line {
	enum line_kind kind;
	int number;	   /* from 1 */
	const char *key;   /* LINE_SECTION: its kind, e.g. "node" */
	const char *value; /* trimmed, without the comment, never empty; LINE_SECTION: its name */
};

struct lines {
	struct arena *arena;
	struct config_report *report;
	const char *file;
	const char *text;
	size_t size, at;
	int number;
};

/*
 * `text` need not end with NUL or newline; it must live while the reader does. Keys and values go
 * to the arena. False when the file is refused as a whole, which has been reported: it is too big,
 * or no text.
 */
bool lines_init(struct lines *lines, struct arena *arena, struct config_report *report,
		const char *file, const char *text, size_t size);
/* The next good line; false at the end. */
bool lines_next(struct lines *lines, struct line *line);

/* Splits a value into words, quotes removed. False when something was reported. */
bool words_split(struct arena *arena, const struct place *place, const char *value,
		 struct words *words);
/* Appends a word that lives in the arena; `capacity` is the caller's, 0 at first. False with errno
 * ENOMEM. */
bool words_add(struct arena *arena, struct words *words, size_t *capacity, char *word);

/* Whether text[0..size) is UTF-8 (no surrogates, nothing over-long) without NUL and control
 * characters but tab and newline; otherwise *offset is the first bad byte. */
bool text_clean(const char *text, size_t size, size_t *offset);

#endif
