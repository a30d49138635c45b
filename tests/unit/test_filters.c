/* Filters are compiled once for each list of words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/supervise/filters.h"

static char read_word[] = "read", write_word[] = "write", readwrite[] = "readwrite",
	    group[] = "@basic-io";

static const struct seccomp_program *get(char **words, size_t count)
{
	char error[200] = "";

	return filter_get(&(struct words){words, count}, error, sizeof(error));
}

static void same_words_share_a_program(void **state)
{
	char other_read[] = "read";
	char *one[] = {read_word, write_word}, *same[] = {other_read, write_word};
	char *fewer[] = {read_word}, *swapped[] = {write_word, read_word},
	     *joined[] = {group, write_word};

	(void)state;
	const struct seccomp_program *program = get(one, 2);
	assert_non_null(program);
	assert_true(program->length > 0);
	assert_ptr_equal(get(same, 2), program);
	assert_ptr_not_equal(get(fewer, 1), program);
	assert_ptr_not_equal(get(swapped, 2), program);
	assert_ptr_not_equal(get(joined, 2), program);
	assert_ptr_equal(get(one, 2), program);
	/* It is a copy of the words that is compared. */
	memcpy(other_read, "open", 4);
	assert_ptr_not_equal(get(same, 2), program);
	assert_ptr_equal(get(one, 2), program);
}

static void wrong_words_make_none_however_often_asked(void **state)
{
	char *wrong[] = {read_word, readwrite};

	(void)state;
	for (int i = 0; i < 2; i++) {
		char error[200] = "";
		assert_false(filter_good(&(struct words){wrong, 2}, error, sizeof(error)));
		assert_non_null(strstr(error, "readwrite"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_words_share_a_program),
		cmocka_unit_test(wrong_words_make_none_however_often_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
