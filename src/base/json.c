#include "src/base/json.h"

#include <stddef.h>
#include <stdio.h>

/* Bytes of the UTF-8 sequence at text, 0 if it is none (Unicode 15, table 3-7). */
static size_t utf8_length(const unsigned char *text)
{
	size_t length = text[0] < 0x80 ? 1 : text[0] < 0xC2 ? 0 : text[0] < 0xE0 ? 2 : text[0] < 0xF0 ? 3 : 4;

	if (text[0] > 0xF4)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xC0) != 0x80)
			return 0;
	if ((text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xED && text[1] > 0x9F) ||
	    (text[0] == 0xF0 && text[1] < 0x90) || (text[0] == 0xF4 && text[1] > 0x8F))
		return 0;
	return length;
}

static void quote(const char *value)
{
	const unsigned char *p = (const unsigned char *)value;

	putchar('"');
	while (*p) {
		size_t length = utf8_length(p);
		if (length == 0) {
			fputs("\\ufffd", stdout);
			p++;
		} else if (*p == '"' || *p == '\\') {
			printf("\\%c", *p++);
		} else if (*p < 0x20) {
			printf("\\u%04x", *p++);
		} else {
			fwrite(p, 1, length, stdout);
			p += length;
		}
	}
	putchar('"');
}

static void start(bool *first, const char *key)
{
	if (!*first)
		putchar(',');
	*first = false;
	if (key) {
		quote(key);
		putchar(':');
	}
}

void json_open(bool *first, const char *key, char bracket)
{
	start(first, key);
	putchar(bracket);
	*first = true;
}

void json_close(char bracket)
{
	putchar(bracket);
}

void json_string(bool *first, const char *key, const char *value)
{
	start(first, key);
	quote(value);
}

void json_number(bool *first, const char *key, int64_t value)
{
	start(first, key);
	printf("%lld", (long long)value);
}

void json_bool(bool *first, const char *key, bool value)
{
	start(first, key);
	fputs(value ? "true" : "false", stdout);
}
