#include "src/base/json.h"

#include <stddef.h>
#include <stdio.h>

#include "src/base/utf8.h"

static void quote(const char *value)
{
	const char *p = value;

	putchar('"');
	while (*p) {
		size_t length = utf8_length(p);
		if (length == 0) {
			fputs("\\ufffd", stdout);
			p++;
		} else if (*p == '"' || *p == '\\') {
			printf("\\%c", *p++);
		} else if (length == 1 && utf8_is_control(p)) {
			printf("\\u%04x", (unsigned)*p++);
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

void json_close(bool *first, char bracket)
{
	putchar(bracket);
	*first = false; /* what was closed is an element of what is open now */
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
