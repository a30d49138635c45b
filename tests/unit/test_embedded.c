/*
 * The files compiled into the program are those of the source tree, byte for byte but for the
 * comment lines of services and profiles. (A text that had gone through a shell variable or a C
 * string lost its last newline or its backslashes.) Runs in the top folder of the source tree.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "src/config/embedded.h"

static void sorted_by_name(void **state)
{
	(void)state;
	for (size_t i = 1; i < embedded_file_count; i++)
		assert_true(strcmp(embedded_files[i - 1].name, embedded_files[i].name) < 0);
}

/* Lines that begin with # become empty, in place. Returns the new size. */
static size_t without_comments(char *text, size_t size)
{
	bool start = true, comment = false;
	size_t kept = 0;

	for (size_t i = 0; i < size; i++) {
		comment = text[i] != '\n' && (comment || (start && text[i] == '#'));
		start = text[i] == '\n';
		if (!comment)
			text[kept++] = text[i];
	}
	return kept;
}

static void same_bytes_as_on_disk(void **state)
{
	static char text[1 << 20];

	(void)state;
	for (size_t i = 0; i < embedded_file_count; i++) {
		const struct embedded_file *file = &embedded_files[i];
		FILE *stream = fopen(file->name, "r");

		assert_non_null(stream);
		size_t size = fread(text, 1, sizeof(text), stream);
		fclose(stream);
		if (!strstr(file->name, ".in"))
			size = without_comments(text, size);
		assert_int_equal(file->size, size);
		assert_memory_equal(file->text, text, size);
		assert_int_equal(file->text[size], 0);
	}
}

static void none_is_missing(void **state)
{
	glob_t found;

	(void)state;
	glob("services/*/*.service", 0, NULL, &found);
	glob("services/*/*.in", GLOB_APPEND, NULL, &found);
	glob("profiles/*.profile", GLOB_APPEND, NULL, &found);
	assert_int_equal(found.gl_pathc, embedded_file_count);
	globfree(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorted_by_name),
		cmocka_unit_test(same_bytes_as_on_disk),
		cmocka_unit_test(none_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
