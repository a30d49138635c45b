/* What nfsd is told about clients, exports and file handles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "services/nfsd/exports.h"

static struct cluster cluster;
static struct exports exports;

static void add_node(const char *name, const char *role, const char *address)
{
	struct cluster_node *node = &cluster.node[cluster.node_count++];

	snprintf(node->name, sizeof(node->name), "%s", name);
	snprintf(node->role, sizeof(node->role), "%s", role);
	assert_int_equal(inet_pton(AF_INET, address, &node->address.address), 1);
}

static void add_share(const char *name, size_t address)
{
	struct cluster_share *share = &cluster.share[cluster.share_count++];

	snprintf(share->name, sizeof(share->name), "%s", name);
	share->address = &cluster.address[address];
}

static int set_up(void **state)
{
	(void)state;
	memset(&cluster, 0, sizeof(cluster));
	add_node("data1", "data", "10.77.0.11");
	add_node("php1", "php", "10.77.0.21");
	add_node("web1", "web", "10.77.0.31");
	cluster.address_count = 2;
	add_share("a.example", 0);
	add_share("b.example", 1);
	exports = (struct exports){
		.cluster = &cluster, .address = &cluster.address[0], .root = "/data"};
	return 0;
}

static const char *ask(enum exports_cache cache, const char *question)
{
	static struct exports_line line;

	if (!exports_answer(&exports, cache, question, strlen(question), false, &line))
		return NULL;
	assert_true(line.length > 0 && line.length < sizeof(line.text));
	assert_int_equal(line.text[line.length - 1], '\n');
	line.text[line.length - 1] = '\0';
	return line.text;
}

#define FOR_EVER " 2147483647"

static void only_nodes_that_need_it_are_clients(void **state)
{
	(void)state;
	assert_string_equal(ask(EXPORTS_CLIENT, "nfsd 10.77.0.21\n"),
			    "nfsd 10.77.0.21" FOR_EVER " php");
	assert_string_equal(ask(EXPORTS_CLIENT, "nfsd 10.77.0.31\n"),
			    "nfsd 10.77.0.31" FOR_EVER " web");
	assert_string_equal(ask(EXPORTS_CLIENT, "nfsd 10.77.0.11\n"), "nfsd 10.77.0.11" FOR_EVER);
	assert_string_equal(ask(EXPORTS_CLIENT, "nfsd 10.77.0.22\n"), "nfsd 10.77.0.22" FOR_EVER);
	assert_string_equal(ask(EXPORTS_CLIENT, "nfsd ::1\n"), "nfsd ::1" FOR_EVER);
	assert_string_equal(ask(EXPORTS_CLIENT, "lockd 10.77.0.21\n"), "lockd 10.77.0.21" FOR_EVER);
}

static void a_share_is_writable_for_php_and_not_for_web(void **state)
{
	char expected[256];
	(void)state;

	/* 0x2404: own id, no subtree check, root is nobody; 0x2405: and read-only. */
	snprintf(expected, sizeof(expected), "php /data/a.example" FOR_EVER " %u 65534 65534 %u",
		 0x2404, exports_share_id("a.example"));
	assert_string_equal(ask(EXPORTS_EXPORT, "php /data/a.example\n"), expected);
	snprintf(expected, sizeof(expected), "web /data/a.example" FOR_EVER " %u 65534 65534 %u",
		 0x2405, exports_share_id("a.example"));
	assert_string_equal(ask(EXPORTS_EXPORT, "web /data/a.example\n"), expected);
}

static void the_directory_above_is_only_walked_through(void **state)
{
	(void)state;
	/* 0x12405: V4ROOT, own id 0, no subtree check, root is nobody, read-only. */
	assert_string_equal(ask(EXPORTS_EXPORT, "php /data\n"),
			    "php /data" FOR_EVER " 74757 65534 65534 0");
}

static void nothing_else_is_exported(void **state)
{
	static const struct {
		int line;
		const char *path;
	} rows[] = {
		{__LINE__, "/data/b.example"}, /* of the other address */
		{__LINE__, "/data/.nfs"},
		{__LINE__, "/data/"},
		{__LINE__, "/data/a.example/"},
		{__LINE__, "/data/a.example/.."},
		{__LINE__, "/data/a.exampl"},
		{__LINE__, "/dat"},
		{__LINE__, "/"},
		{__LINE__, "/dataXa.example"},
	};
	char question[128], expected[256];
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(question, sizeof(question), "php %s", rows[i].path);
		snprintf(expected, sizeof(expected), "php %s" FOR_EVER, rows[i].path);
		if (strcmp(ask(EXPORTS_EXPORT, question), expected) != 0)
			fail_msg("row of line %d: %s", rows[i].line, ask(EXPORTS_EXPORT, question));
	}
	assert_string_equal(ask(EXPORTS_EXPORT, "data /data/a.example"),
			    "data /data/a.example" FOR_EVER);
	assert_string_equal(ask(EXPORTS_EXPORT, "nobody /data/a.example"),
			    "nobody /data/a.example" FOR_EVER);
}

static void handles_lead_to_the_directories_of_this_address(void **state)
{
	char question[128], expected[256];
	uint32_t ours = exports_share_id("a.example"), theirs = exports_share_id("b.example");
	uint8_t key[4];
	(void)state;

	assert_string_equal(ask(EXPORTS_HANDLE, "php 1 \\x00000000"),
			    "php 1 \\x00000000" FOR_EVER " /data");
	memcpy(key, &ours, 4);
	snprintf(question, sizeof(question), "php 1 \\x%02x%02x%02x%02x", key[0], key[1], key[2],
		 key[3]);
	snprintf(expected, sizeof(expected), "%s" FOR_EVER " /data/a.example", question);
	assert_string_equal(ask(EXPORTS_HANDLE, question), expected);
	memcpy(key, &theirs, 4);
	snprintf(question, sizeof(question), "php 1 \\x%02x%02x%02x%02x", key[0], key[1], key[2],
		 key[3]);
	snprintf(expected, sizeof(expected), "%s" FOR_EVER, question);
	assert_string_equal(ask(EXPORTS_HANDLE, question), expected);
	/* By device or UUID: no handle of ours. */
	assert_string_equal(ask(EXPORTS_HANDLE, "php 0 \\x0000000000000000"),
			    "php 0 \\x0000000000000000" FOR_EVER);
}

static void quoting_goes_both_ways(void **state)
{
	(void)state;
	assert_string_equal(ask(EXPORTS_EXPORT, "php /data/a\\040b\\134\\012\n"),
			    "php /data/a\\040b\\134\\012" FOR_EVER);
	assert_string_equal(ask(EXPORTS_EXPORT, "php /data/\\303\\244\n"),
			    "php /data/\\303\\244" FOR_EVER);
}

static void what_is_no_question_gets_no_answer(void **state)
{
	static const struct {
		int line;
		enum exports_cache cache;
		const char *question;
	} rows[] = {
		{__LINE__, EXPORTS_CLIENT, ""},
		{__LINE__, EXPORTS_CLIENT, "\n"},
		{__LINE__, EXPORTS_CLIENT, "nfsd"},
		{__LINE__, EXPORTS_CLIENT, "nfsd "},
		{__LINE__, EXPORTS_EXPORT, "php"},
		{__LINE__, EXPORTS_EXPORT, "php /data\\40"},
		{__LINE__, EXPORTS_EXPORT, "php /data\\777"},
		{__LINE__, EXPORTS_EXPORT, "php \\"},
		{__LINE__, EXPORTS_HANDLE, "php 1"},
		{__LINE__, EXPORTS_HANDLE, "php 1 \\x0"},
		{__LINE__, EXPORTS_HANDLE, "php 1 \\x0g"},
		{__LINE__, EXPORTS_HANDLE, "php 1 \\xAB"},
	};
	static char flood[EXPORTS_LINE_BYTES];
	static struct exports_line line;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (ask(rows[i].cache, rows[i].question) != NULL)
			fail_msg("row of line %d was answered", rows[i].line);
	memset(flood, 'x', sizeof(flood));
	memcpy(flood, "php ", 4);
	assert_false(exports_answer(&exports, EXPORTS_EXPORT, flood, sizeof(flood), false, &line));
}

static void a_no_can_be_asked_for(void **state)
{
	static struct exports_line line;
	const char *question = "php /data/a.example\n";
	const char *expected = "php /data/a.example" FOR_EVER "\n";
	(void)state;

	assert_true(
		exports_answer(&exports, EXPORTS_EXPORT, question, strlen(question), true, &line));
	assert_int_equal(line.length, strlen(expected));
	assert_memory_equal(line.text, expected, line.length);
}

static void ids_stay_and_differ(void **state)
{
	(void)state;
	/* Clients hold handles with this number in them: it must never change. */
	assert_int_equal(exports_share_id("a.example"), 1902272232);
	assert_true(exports_share_id("b.example") != exports_share_id("a.example"));
	assert_null(exports_id_clash(&cluster));
	add_share("a.example", 1);
	assert_ptr_equal(exports_id_clash(&cluster), &cluster.share[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(only_nodes_that_need_it_are_clients, set_up),
		cmocka_unit_test_setup(a_share_is_writable_for_php_and_not_for_web, set_up),
		cmocka_unit_test_setup(the_directory_above_is_only_walked_through, set_up),
		cmocka_unit_test_setup(nothing_else_is_exported, set_up),
		cmocka_unit_test_setup(handles_lead_to_the_directories_of_this_address, set_up),
		cmocka_unit_test_setup(quoting_goes_both_ways, set_up),
		cmocka_unit_test_setup(what_is_no_question_gets_no_answer, set_up),
		cmocka_unit_test_setup(a_no_can_be_asked_for, set_up),
		cmocka_unit_test_setup(ids_stay_and_differ, set_up),
	};

	return cmocka_run_group_tests_name("NFS exports", tests, NULL, NULL);
}
