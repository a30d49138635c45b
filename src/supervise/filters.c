#include "src/supervise/filters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct filter {
	struct filter *next;
	struct seccomp_program program;
	bool used; /* asked for since filters_begin */
	size_t count;
	char words[]; /* `count` strings, one after the other */
};

static struct filter *filters;

static bool is_of(const struct filter *filter, const struct words *words)
{
	const char *mine = filter->words;

	if (filter->count != words->count)
		return false;
	for (size_t i = 0; i < words->count; i++) {
		if (strcmp(mine, words->word[i]) != 0)
			return false;
		mine += strlen(mine) + 1;
	}
	return true;
}

static struct filter *add(const struct words *words)
{
	size_t bytes = 0;

	for (size_t i = 0; i < words->count; i++)
		bytes += strlen(words->word[i]) + 1;
	struct filter *filter = calloc(1, sizeof(*filter) + bytes);
	if (!filter)
		return NULL;
	char *mine = filter->words;
	for (size_t i = 0; i < words->count; i++) {
		size_t length = strlen(words->word[i]) + 1;
		memcpy(mine, words->word[i], length);
		mine += length;
	}
	filter->count = words->count;
	return filter;
}

const struct seccomp_program *filter_get(const struct words *words, char *error, size_t error_bytes)
{
	for (struct filter *filter = filters; filter; filter = filter->next) {
		if (!is_of(filter, words))
			continue;
		filter->used = true;
		return &filter->program;
	}

	struct filter *filter = add(words);
	if (!filter) {
		snprintf(error, error_bytes, "out of memory");
		return NULL;
	}
	if (seccomp_compile(words, &filter->program, error, error_bytes) < 0) {
		free(filter);
		return NULL;
	}
	filter->used = true;
	filter->next = filters;
	filters = filter;
	return &filter->program;
}

void filters_begin(void)
{
	for (struct filter *filter = filters; filter; filter = filter->next)
		filter->used = false;
}

void filters_keep(const struct seccomp_program *program)
{
	for (struct filter *filter = filters; filter; filter = filter->next)
		if (&filter->program == program)
			filter->used = true;
}

void filters_end(void)
{
	for (struct filter **at = &filters; *at;) {
		struct filter *filter = *at;
		if (filter->used) {
			at = &filter->next;
			continue;
		}
		*at = filter->next;
		seccomp_program_free(&filter->program);
		free(filter);
	}
}

bool filter_good(const struct words *words, char *error, size_t error_bytes)
{
	return filter_get(words, error, error_bytes) != NULL;
}
