#include "services/check/http.h"

#include <stdbool.h>
#include <string.h>

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.", digit, blank, three digits, blank, reason. The blank may lack with the reason, as many
 * servers have it. */
static bool status_line(const char *line, size_t length, unsigned *status)
{
	static const char version[] = "HTTP/1.";
	const size_t at = sizeof(version) - 1;

	if (length < at + 5 || memcmp(line, version, at) != 0 || !digit(line[at]) ||
	    line[at + 1] != ' ' || line[at + 2] < '1' || line[at + 2] > '9' ||
	    !digit(line[at + 3]) || !digit(line[at + 4]))
		return false;
	if (length > at + 5 && line[at + 5] != ' ')
		return false;
	*status = (unsigned)(line[at + 2] - '0') * 100 + (unsigned)(line[at + 3] - '0') * 10 +
		  (unsigned)(line[at + 4] - '0');
	return true;
}

/* RFC 9110, 5.6.2: what a field's name is made of. */
static bool token(char c)
{
	return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool field_line(const char *line, size_t length)
{
	size_t name = 0;

	while (name < length && token(line[name]))
		name++;
	return name > 0 && name < length && line[name] == ':';
}

static bool is_text(const char *line, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 127)
			return false;
	return true;
}

/* What there is of a status line could still become one: who speaks something else is found out by
 * the first bytes, even if no newline ever comes. */
static bool may_be_status_line(const char *bytes, size_t count)
{
	static const char version[] = "HTTP/1.";
	size_t least = count < sizeof(version) - 1 ? count : sizeof(version) - 1;

	return memcmp(bytes, version, least) == 0;
}

enum http_found http_answer(const char *bytes, size_t count, unsigned *status)
{
	unsigned found = 0;

	if (count == 0)
		return HTTP_MORE;
	if (!may_be_status_line(bytes, count))
		return HTTP_WRONG;
	for (size_t at = 0; at < count && at < HTTP_HEADER_MAX;) {
		const char *line = bytes + at;
		const char *newline = memchr(line, '\n', count - at);
		if (!newline)
			break;
		size_t length = (size_t)(newline - line);
		at += length + 1;
		if (at > HTTP_HEADER_MAX)
			break;
		if (length > 0 && line[length - 1] == '\r')
			length--;
		if (!is_text(line, length))
			return HTTP_WRONG;
		if (line == bytes) {
			if (!status_line(line, length, &found))
				return HTTP_WRONG;
		} else if (length == 0) {
			*status = found;
			return HTTP_COMPLETE;
		} else if (!field_line(line, length)) {
			return HTTP_WRONG;
		}
	}
	return count < HTTP_HEADER_MAX ? HTTP_MORE : HTTP_WRONG;
}
