/* What a reload compares: when two descriptions of a service ask for the same process, when two
 * cluster files say the same, and whether the files are those that were loaded. */
#include "tests/unit/config_files.h"

static uint8_t digest[3][DIGEST_BYTES]; /* of the service before: digest, live; of the files */

/* Which of these a file's text changes: bits 1, 2, 4. */
static unsigned changes(const char *text)
{
	unsigned changed = 0;

	config_file("services/a.service", text);
	struct config *config = config_good("t", NULL);
	const struct service_def *def = config_service(config, "a");
	const uint8_t *now[] = {def->digest, def->live, config->sources};
	for (unsigned i = 0; i < 3; i++) {
		changed |= memcmp(digest[i], now[i], DIGEST_BYTES) != 0 ? 1u << i : 0;
		memcpy(digest[i], now[i], DIGEST_BYTES);
	}
	config_free(config);
	return changed;
}

static void what_a_process_need_not_know(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = a b\n");
	config_file("services/b.service", "start = /bin/b\n");
	config_file("services/a/x.in", "one\n");
	changes("start = /bin/x 1\n");
	assert_int_equal(changes("start = /bin/x 1\n"), 0);
	assert_int_equal(changes("# a word\nstart  =  /bin/x   1\n"), 4);
	assert_int_equal(changes("start = /bin/x 2\n"), 1 | 4);
	assert_int_equal(changes("start = /bin/x \"2\"\n"), 4);
	/* Words have ends. */
	changes("start = /bin/x 1 2\n");
	assert_int_equal(changes("start = /bin/x \"1 2\"\n"), 1 | 4);
	static const char *const live[] = {
		"requires = b\n",
		"wants = b\n",
		"after = b\n",
		"conflicts = b\n",
		"when-lost = keep\n",
		"when = path /tmp/x\n",
		"first = yes\n",
		"start-timeout = 1s\n",
		"stop-timeout = 1s\n",
		"stop-signal = INT\n",
		"restart = never\n",
		"restart-delay = 1ms\n",
		"healthy-after = 1s\n",
		"success-exit = 3\n",
		"description = x\n",
		"reload-signal = HUP\n",
		"check = tcp 127.0.0.1:1\n",
		"restart-limit = 3 1m\n",
		"reads-cluster = yes\n",
	};
	for (size_t i = 0; i < sizeof(live) / sizeof(live[0]); i++) {
		char text[128];
		changes("start = /bin/x\n");
		snprintf(text, sizeof(text), "start = /bin/x\n%s", live[i]);
		unsigned got = changes(text);
		if (got != (2 | 4))
			fail_msg("%s changes %u", live[i], got);
	}
	static const char *const own[] = {
		"user = anna\n",
		"nice = 3\n",
		"listen = tcp 127.0.0.1:1\n",
		"environment = A=1\n",
		"ready = notify\n",
		"root = empty\n",
		"seccomp = @start\n",
		"memory-max = 1M\n",
		"limit-core = 0\n",
		"umask = 077\n",
		"template = x.in -> /run/x\n",
	};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		char text[128];
		changes("start = /bin/x\n");
		snprintf(text, sizeof(text), "start = /bin/x\n%s", own[i]);
		unsigned got = changes(text);
		if (got != (1 | 4))
			fail_msg("%s changes %u", own[i], got);
	}
	/* What a template file says is part of it. */
	const char *with_template = "start = /bin/x\ntemplate = x.in -> /run/x\n";
	changes(with_template);
	config_file("services/a/x.in", "two\n");
	assert_int_equal(changes(with_template), 1);
}

static void a_pool_of_another_size(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = p\n");
	config_file("services/p.service", "start = /bin/x\ninstances = 2\n");
	struct pool_size size[] = {{"other", 9}, {"p", 3}};
	struct config_source source = {.directory = config_dir,
				       .profile = "t",
				       .accounts = config_dir,
				       .pool_size = size,
				       .pool_size_count = 2};
	struct config *plain = config_good("t", NULL),
		      *sized = config_load(&source, &config_report);
	assert_non_null(sized);
	assert_int_equal(plain->service_count, 3);
	assert_int_equal(sized->service_count, 4);
	assert_int_equal(config_service(sized, "p")->wants_count, 3);
	/* The files are the same, and so is who was there before. */
	assert_memory_equal(plain->sources, sized->sources, DIGEST_BYTES);
	assert_memory_equal(config_service(plain, "p:2")->digest,
			    config_service(sized, "p:2")->digest, DIGEST_BYTES);
	assert_memory_equal(config_service(plain, "p:2")->live, config_service(sized, "p:2")->live,
			    DIGEST_BYTES);
	config_free(plain);
	config_file("services/p.service", "start = /bin/x\ninstances = 4\n");
	plain = config_good("t", NULL);
	assert_memory_equal(config_service(plain, "p:2")->live, config_service(sized, "p:2")->live,
			    DIGEST_BYTES);
	config_free(plain);
	/* It is no pool by its file: no size makes it one. */
	config_file("services/p.service", "start = /bin/x\n");
	config_free(sized);
	sized = config_load(&source, &config_report);
	assert_non_null(sized);
	assert_int_equal(sized->service_count, 1);
	config_free(sized);
}

static bool same_cluster(const char *text)
{
	static uint8_t before[DIGEST_BYTES];

	config_file("cluster.conf", text);
	struct config *config = config_good(NULL, "web1");
	bool same = memcmp(before, config->cluster_digest, DIGEST_BYTES) == 0;
	memcpy(before, config->cluster_digest, DIGEST_BYTES);
	config_free(config);
	return same;
}

static void what_the_cluster_file_says(void **state)
{
	(void)state;
	same_cluster(CLUSTER_CONF);
	assert_true(same_cluster(CLUSTER_CONF));
	assert_true(same_cluster("# a word to people\n\n" CLUSTER_CONF));
	static const char *const more[] = {
		"[share c.example]\naddress = nfs-a\n",
		"[share c.example]\naddress = nfs-b\n",
		"[share c.example]\naddress = nfs-b\nseed = /a\n",
		"[share c.example]\naddress = nfs-b\nseed = /b\n",
		"[address x]\naddress = 10.77.0.103/24\nrole = data\nprefer = data1\n",
		"[address x]\naddress = 10.77.0.103/24\nrole = data\nprefer = data2\n",
		"[address x]\naddress = 10.77.0.104/24\nrole = data\nprefer = data2\n",
		"[node php3]\nrole = php\naddress = 10.77.0.23/24\nkey = none\ncache = serial:a\n",
		"[node php3]\nrole = php\naddress = 10.77.0.23/24\nkey = none\ncache = serial:b\n",
	};
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		char text[4096];
		snprintf(text, sizeof(text), "%s%s", CLUSTER_CONF, more[i]);
		if (same_cluster(text))
			fail_msg("no change: %s", more[i]);
		assert_true(same_cluster(text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_process_need_not_know, config_files_begin,
						config_files_end),
		cmocka_unit_test_setup_teardown(a_pool_of_another_size, config_files_begin,
						config_files_end),
		cmocka_unit_test_setup_teardown(what_the_cluster_file_says, config_files_begin,
						config_files_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
