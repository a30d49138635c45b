#include "src/service/notify_message.h"

#include <string.h>

#include "src/base/utf8.h"

static bool is(const struct notify_text *text, const char *word)
{
	return text->length == strlen(word) && memcmp(text->at, word, text->length) == 0;
}

static struct notify_number number(const struct notify_text *text)
{
	struct notify_number read = {.text = *text, .good = text->length > 0};

	for (size_t i = 0; read.good && i < text->length; i++) {
		unsigned digit = (unsigned)(unsigned char)text->at[i] - '0';
		if (digit > 9 || read.value > (UINT64_MAX - digit) / 10)
			return (struct notify_number){.text = *text};
		read.value = read.value * 10 + digit;
	}
	return read;
}

static void take(struct notify_message *message, const struct notify_text *name,
		 const struct notify_text *value)
{
	const struct {
		const char *name;
		bool *said;
	} said[] = {{"READY", &message->ready},
		    {"RELOADING", &message->reloading},
		    {"STOPPING", &message->stopping},
		    {"BARRIER", &message->barrier},
		    {"WATCHDOG", &message->ping}};
	const struct {
		const char *name;
		struct notify_number *number;
	} numbers[] = {{"MAINPID", &message->main_pid},
		       {"ERRNO", &message->error},
		       {"EXTEND_TIMEOUT_USEC", &message->extend_us},
		       {"WATCHDOG_USEC", &message->watchdog_us}};

	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (is(name, said[i].name) && is(value, "1"))
			*said[i].said = true;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (is(name, numbers[i].name))
			*numbers[i].number = number(value);
	if (is(name, "STATUS"))
		message->status = *value;
	if (is(name, "BUSERROR"))
		message->bus_error = *value;
	if (is(name, "WATCHDOG") && is(value, "trigger"))
		message->trigger = true;
}

void notify_message_read(const char *bytes, size_t count, struct notify_message *message)
{
	const char *end = bytes + count;

	*message = (struct notify_message){0};
	while (bytes < end) {
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
		const char *line_end = newline ? newline : end;
		const char *equals = memchr(bytes, '=', (size_t)(line_end - bytes));
		if (equals) {
			const struct notify_text name = {bytes, (size_t)(equals - bytes)};
			const struct notify_text value = {equals + 1,
							  (size_t)(line_end - equals - 1)};
			take(message, &name, &value);
		}
		bytes = newline ? newline + 1 : end;
	}
}

char *notify_text_plain(const struct notify_text *text, char *to, size_t to_bytes)
{
	size_t used = 0, done = 0;

	while (text->at && done < text->length) {
		/* utf8_length wants an end: a character has four bytes at most. */
		char character[5] = {0};
		size_t left = text->length - done;
		memcpy(character, text->at + done, left < 4 ? left : 4);
		size_t length = utf8_length(character);
		bool plain = length > 0 && !utf8_is_control(character);
		if (used + (plain ? length : 1) >= to_bytes)
			break;
		if (plain)
			memcpy(to + used, character, length);
		else
			to[used] = '?';
		used += plain ? length : 1;
		done += length ? length : 1;
	}
	if (to_bytes > 0)
		to[used] = '\0';
	return to;
}
