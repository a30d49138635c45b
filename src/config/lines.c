#include "src/config/lines.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FOUND_BYTES 64 /* of a wrong value are shown */

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* How many bytes of `text` a message shows: all, or up to the last whole character before
 * FOUND_BYTES. */
static int shown(const char *text)
{
	size_t length = strnlen(text, FOUND_BYTES + 1);
	if (length > FOUND_BYTES) {
		length = FOUND_BYTES;
		while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
			length--;
	}
	return (int)length;
}

bool place_expected(const struct place *place, const char *found, const char *expected_fmt, ...)
{
	char expected[256];
	va_list ap;
	va_start(ap, expected_fmt);
	vsnprintf(expected, sizeof(expected), expected_fmt, ap);
	va_end(ap);

	int length = shown(found);
	config_report_add(place->report, place->file, place->line,
			  "%s: found \"%.*s\"%s, expected %s", place->key, length, found,
			  found[length] ? "…" : "", expected);
	return false;
}

bool place_wrong(const struct place *place, const char *fmt, ...)
{
	char text[320];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	config_report_add(place->report, place->file, place->line, "%s: %s", place->key, text);
	return false;
}

/* Length of the UTF-8 sequence at text[0..size), 0 if it is none (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *text, size_t size)
{
	unsigned char c = text[0];
	size_t length = c < 0x80		? 1
			: c >= 0xc2 && c < 0xe0 ? 2
			: (c & 0xf0) == 0xe0	? 3
			: c >= 0xf0 && c < 0xf5 ? 4
						: 0;
	if (length == 0 || length > size)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Over-long forms, surrogates and what lies past U+10FFFF. */
	if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f) ||
	    (c == 0xf0 && text[1] < 0x90) || (c == 0xf4 && text[1] > 0x8f))
		return 0;
	return length;
}

bool text_clean(const char *text, size_t size, size_t *offset)
{
	const unsigned char *p = (const unsigned char *)text;
	for (size_t at = 0; at < size;) {
		size_t length = utf8_length(p + at, size - at);
		bool control = (p[at] < 0x20 && p[at] != '\t' && p[at] != '\n') || p[at] == 0x7f;
		if (length == 0 || control) {
			*offset = at;
			return false;
		}
		at += length;
	}
	return true;
}

static bool report_bytes(struct lines *lines, size_t offset)
{
	unsigned char byte = (unsigned char)lines->text[offset];
	const char *what = byte == '\r'
				   ? "a carriage return, expected lines that end with newline alone"
			   : byte == 0	 ? "a NUL byte, expected text"
			   : byte < 0x80 ? "a control character, expected text"
					 : "bytes that are not UTF-8, expected UTF-8";
	int line = 1;
	for (size_t i = 0; i < offset; i++)
		line += lines->text[i] == '\n';
	config_report_add(lines->report, lines->file, line, "found %s", what);
	return false;
}

bool lines_init(struct lines *lines, struct arena *arena, struct config_report *report,
		const char *file, const char *text, size_t size)
{
	size_t offset;
	*lines = (struct lines){
		.arena = arena, .report = report, .file = file, .text = text, .size = size};
	if (size > FILE_BYTES_MAX) {
		config_report_add(report, file, 0, "found %zu bytes, expected at most %u", size,
				  FILE_BYTES_MAX);
		return false;
	}
	return text_clean(text, size, &offset) || report_bytes(lines, offset);
}

/* The length of a line without its comment and trailing blanks. */
static size_t strip(const char *text, size_t size)
{
	bool quoted = false;
	size_t end = 0;
	for (size_t i = 0; i < size; i++) {
		char c = text[i];
		if (quoted && c == '\\' && i + 1 < size)
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (c == '#' && !quoted && (i == 0 || blank(text[i - 1])))
			break;
		if (!blank(text[i]) || quoted)
			end = i + 1;
	}
	return end;
}

static bool key_like(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		bool letter = text[i] >= 'a' && text[i] <= 'z';
		bool later = (text[i] >= '0' && text[i] <= '9') || text[i] == '-';
		if (!letter && (i == 0 || !later))
			return false;
	}
	return size > 0;
}

static bool copied(const struct lines *lines, const struct line *line)
{
	if (!line->key || !line->value) {
		config_report_add(lines->report, lines->file, lines->number, "out of memory");
		return false;
	}
	return true;
}

static bool section(struct lines *lines, const char *text, size_t size, struct line *line)
{
	size_t kind = 1;
	while (kind < size && text[kind] >= 'a' && text[kind] <= 'z')
		kind++;
	size_t name = kind;
	while (name < size && blank(text[name]))
		name++;
	size_t end = name;
	while (end < size && text[end] != ']' && !blank(text[end]))
		end++;
	if (kind == 1 || name == kind || end == name || end + 1 != size || text[end] != ']') {
		struct place place = {lines->report, lines->file, lines->number, "section"};
		char found[FOUND_BYTES + 8];
		snprintf(found, sizeof(found), "%.*s",
			 (int)(size < FOUND_BYTES + 4 ? size : FOUND_BYTES + 4), text);
		return place_expected(&place, found, "[KIND NAME]");
	}
	line->kind = LINE_SECTION;
	line->key = arena_strndup(lines->arena, text + 1, kind - 1);
	line->value = arena_strndup(lines->arena, text + name, end - name);
	return copied(lines, line);
}

static bool pair(struct lines *lines, const char *text, size_t size, struct line *line)
{
	const char *equals = memchr(text, '=', size);
	size_t key = equals ? (size_t)(equals - text) : size;
	while (key > 0 && blank(text[key - 1]))
		key--;
	if (!equals || !key_like(text, key)) {
		struct place place = {lines->report, lines->file, lines->number, "line"};
		char found[FOUND_BYTES + 8];
		snprintf(found, sizeof(found), "%.*s",
			 (int)(size < FOUND_BYTES + 4 ? size : FOUND_BYTES + 4), text);
		return place_expected(&place, found, "KEY = VALUE");
	}
	size_t value = (size_t)(equals - text) + 1;
	while (value < size && blank(text[value]))
		value++;
	if (value == size) {
		config_report_add(lines->report, lines->file, lines->number,
				  "%.*s: found nothing after \"=\", expected a value", (int)key,
				  text);
		return false;
	}
	line->kind = LINE_PAIR;
	line->key = arena_strndup(lines->arena, text, key);
	line->value = arena_strndup(lines->arena, text + value, size - value);
	return copied(lines, line);
}

bool lines_next(struct lines *lines, struct line *line)
{
	while (lines->at < lines->size) {
		const char *text = lines->text + lines->at;
		size_t rest = lines->size - lines->at;
		const char *newline = memchr(text, '\n', rest);
		size_t size = newline ? (size_t)(newline - text) : rest;
		lines->at += newline ? size + 1 : size;
		lines->number++;

		if (size > LINE_BYTES_MAX) {
			config_report_add(lines->report, lines->file, lines->number,
					  "found a line of %zu bytes, expected at most %u", size,
					  LINE_BYTES_MAX);
			continue;
		}
		while (size > 0 && blank(*text)) {
			text++;
			size--;
		}
		size = strip(text, size);
		if (size == 0)
			continue;
		line->number = lines->number;
		if (*text == '[' ? section(lines, text, size, line) : pair(lines, text, size, line))
			return true;
	}
	return false;
}

bool words_add(struct arena *arena, struct words *words, size_t *capacity, char *word)
{
	/* One more for the NULL at the end. */
	if (!word)
		return false;
	if (words->count + 1 >= *capacity) {
		size_t more = *capacity ? *capacity * 2 : 8;
		char **grown = arena_alloc(arena, more * sizeof(*grown));
		if (!grown)
			return false;
		if (words->count > 0)
			memcpy(grown, words->word, words->count * sizeof(*grown));
		words->word = grown;
		*capacity = more;
	}
	words->word[words->count++] = word;
	words->word[words->count] = NULL;
	return true;
}

/* Reads the quoted word at *at (its opening quote), leaves *at behind its closing quote. NULL when
 * reported. */
static char *quoted_word(struct arena *arena, const struct place *place, const char *value,
			 size_t *at)
{
	size_t from = *at, length = 0, i = from + 1;
	char *word = arena_alloc(arena, strlen(value + from));
	if (!word) {
		place_wrong(place, "out of memory");
		return NULL;
	}
	for (; value[i] && value[i] != '"'; i++) {
		if (value[i] == '\\') {
			i++;
			if (value[i] != '"' && value[i] != '\\') {
				place_expected(place, value + i - 1, "\\\" or \\\\ inside quotes");
				return NULL;
			}
		}
		word[length++] = value[i];
	}
	if (!value[i]) {
		place_expected(place, value + from, "a closing quote");
		return NULL;
	}
	if (value[i + 1] && !blank(value[i + 1])) {
		place_expected(place, value + from, "a blank after the closing quote");
		return NULL;
	}
	*at = i + 1;
	return word;
}

bool words_split(struct arena *arena, const struct place *place, const char *value,
		 struct words *words)
{
	size_t capacity = 0, at = 0;
	*words = (struct words){0};
	for (;;) {
		while (blank(value[at]))
			at++;
		if (!value[at])
			return true;
		if (words->count == LINE_WORDS_MAX)
			return place_wrong(place, "found more than %u words, expected fewer",
					   LINE_WORDS_MAX);

		char *word;
		if (value[at] == '"') {
			word = quoted_word(arena, place, value, &at);
			if (!word)
				return false;
		} else {
			size_t from = at;
			while (value[at] && !blank(value[at]) && value[at] != '"')
				at++;
			if (value[at] == '"')
				return place_expected(place, value + from,
						      "the whole word in quotes: \"WORD\"");
			word = arena_strndup(arena, value + from, at - from);
		}
		if (!words_add(arena, words, &capacity, word))
			return place_wrong(place, "out of memory");
	}
}
