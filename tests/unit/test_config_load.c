/* Whole configurations: profiles, dependencies, pools, templates, variables, who this node is, what
 * overrides what. */
#include "tests/unit/config_files.h"

#include "src/config/check.h"
#include "src/config/embedded.h"

static void clear(void)
{
	char command[160];
	snprintf(command, sizeof(command), "rm -rf '%s'/*", config_dir);
	assert_int_equal(system(command), 0);
}

static int begin_empty(void **state)
{
	(void)state;
	clear();
	return 0;
}

static void order_follows_what_is_needed(void **state)
{
	(void)state;
	config_file("profiles/t.profile",
		    "description = a test\nboot-modules = virtio_net virtio-rng\nwatchdog = 30s\n"
		    "shutdown-timeout = 2m\n"
		    "sysctl = fs.leases-enable=0 \"net.ipv4.ip_local_port_range=1024 65000\"\n"
		    "services = top\nservices = late\n");
	config_file("services/top.service", "kind = group\nrequires = b\nwants = c\n");
	config_file("services/late.service", "start = /bin/x\nafter = top unused\n");
	config_file("services/b.service", "start = /bin/x\nrequires = a a\n");
	config_file("services/c.service", "start = /bin/x\nrequires = a\n");
	config_file("services/a.service", "start = /bin/x\n");
	config_file("services/unused.service", "start = /bin/x\n");
	struct config *config = config_good("t", NULL);
	assert_string_equal(config->profile, "t");
	assert_int_equal(config->boot_modules.count, 2);
	assert_string_equal(config->boot_modules.word[1], "virtio-rng");
	assert_string_equal(config->watchdog.device, "/dev/watchdog0");
	assert_int_equal(config->watchdog.timeout_ms, 30000);
	assert_int_equal(config->shutdown_timeout_ms, 120000);
	assert_int_equal(config->sysctl_count, 2);
	assert_string_equal(config->sysctl[0].name, "fs.leases-enable");
	assert_string_equal(config->sysctl[0].value, "0");
	assert_string_equal(config->sysctl[1].value, "1024 65000");
	assert_int_equal(config->service_count, 5);
	for (size_t i = 0; i < config->service_count; i++) {
		const struct service_def *def = &config->service[i];
		for (size_t j = 0; j < def->requires_count; j++)
			assert_in_range(def->requires[j], 0, i - 1);
		for (size_t j = 0; j < def->wants_count; j++)
			assert_in_range(def->wants[j], 0, i - 1);
		for (size_t j = 0; j < def->after_count; j++)
			assert_in_range(def->after[j], 0, i - 1);
	}
	assert_int_equal(config_service(config, "b")->requires_count, 1);
	assert_int_equal(config_service(config, "late")->after_count, 1);
	assert_int_equal(config_find(config, "unused"), -1);
	config_free(config);
}

/* Whichever of the two says so; through others and through a pool. */
static void nothing_requires_what_excludes_it(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = x\n");
	config_file("services/x.service", "start = /bin/x\nrequires = pool\nconflicts = b\n");
	config_file("services/pool.service", "start = /bin/x\ninstances = 2\nrequires = a\n");
	config_file("services/a.service", "start = /bin/x\nrequires = b\n");
	config_file("services/b.service", "start = /bin/x\n");
	config_refused(__LINE__, config_try("t", NULL),
		       "services/x.service:3: conflicts: found b, which x requires, directly or "
		       "not");
	config_file("services/x.service", "start = /bin/x\nrequires = pool\n");
	config_file("services/b.service", "start = /bin/x\nconflicts = x\n");
	config_refused(__LINE__, config_try("t", NULL),
		       "services/x.service: conflicts: found b, which x requires, directly or not");
}

static void cycles_show_their_path(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = x\n");
	config_file("services/x.service", "start = /bin/x\nrequires = a\n");
	config_file("services/a.service", "start = /bin/x\nrequires = b\n");
	config_file("services/b.service", "start = /bin/x\n\nwants = c\n");
	config_file("services/c.service", "start = /bin/x\n\n\nafter = a\n");
	config_refused(__LINE__, config_try("t", NULL),
		       "services/c.service:4: found the cycle a -> b -> c -> a, expected services "
		       "that can start one after "
		       "another");
	assert_int_equal(config_report.count, 1);
}

static void a_long_cycle_fits_its_message(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = n-with-a-rather-long-name-00\n");
	for (int i = 0; i < 30; i++) {
		char name[80], text[80];
		snprintf(name, sizeof(name), "services/n-with-a-rather-long-name-%02d.service", i);
		snprintf(text, sizeof(text),
			 "start = /bin/x\nrequires = n-with-a-rather-long-name-%02d\n",
			 (i + 1) % 30);
		config_file(name, text);
	}
	assert_null(config_try("t", NULL));
	assert_non_null(strstr(config_finding(0), "-> … -> n-with-a-rather-long-name-00,"));
}

static void who_needs_what_is_missing(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = x\n");
	config_file("services/x.service", "start = /bin/x\nrequires = network0\n");
	config_file("services/network1.service", "start = /bin/x\n");
	config_refused(__LINE__, config_try("t", NULL),
		       "services/x.service:2: requires: found \"network0\", expected a service: "
		       "there is no "
		       "network0.service, did you mean \"network1\"?");
	config_file("profiles/t.profile", "services = y\n");
	config_refused(__LINE__, config_try("t", NULL),
		       "profiles/t.profile:1: services: found \"y\", expected a service: there is "
		       "no y.service");
	/* A template needs an instance, and only a template has any. */
	config_file("services/y@.service", "start = /bin/x\n");
	config_refused(__LINE__, config_try("t", NULL),
		       "profiles/t.profile:1: services: found \"y\", expected a service: there is "
		       "no y.service");
	config_file("profiles/t.profile", "services = network1@a\n");
	config_refused(__LINE__, config_try("t", NULL),
		       "profiles/t.profile:1: services: found \"network1@a\", expected a service: "
		       "there is no "
		       "network1@.service, did you mean \"network1\"?");
}

static void a_pool_has_members(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = user\n");
	config_file("services/user.service", "start = /bin/x\nrequires = workers more@x\n");
	config_file("services/base.service", "start = /bin/x\n");
	config_file("services/workers.service", "description = worker %i\nstart = /bin/w "
						"%i\ninstances = 3\nrequires = base\nnice = 3\n");
	config_file("services/more@.service", "start = /bin/w %i\ninstances = 1\n");
	struct config *config = config_good("t", NULL);
	assert_int_equal(config->service_count, 8);
	int at = config_find(config, "workers");
	const struct service_def *pool = &config->service[at];
	assert_int_equal(pool->kind, SERVICE_POOL);
	assert_int_equal(pool->wants_count, 3);
	assert_int_equal(pool->requires_count, 0);
	assert_int_equal(pool->pool, -1);
	for (size_t i = 0; i < 3; i++) {
		const struct service_def *member = &config->service[pool->wants[i]];
		char name[32];
		snprintf(name, sizeof(name), "workers:%zu", i + 1);
		assert_string_equal(member->name, name);
		assert_string_equal(member->instance, name + 8);
		assert_string_equal(member->start.argv.word[1], name + 8);
		assert_int_equal(member->pool, at);
		assert_int_equal(member->kind, SERVICE_DAEMON);
		assert_int_equal(member->nice, 3);
		assert_int_equal(member->requires_count, 1);
	}
	const struct service_def *user = config_service(config, "user");
	assert_int_equal(user->requires[0], at);
	assert_int_equal(config_service(config, "more@x")->kind, SERVICE_POOL);
	assert_string_equal(config_service(config, "more@x:1")->start.argv.word[1], "x");
	assert_string_equal(config_service(config, "more@x:1")->instance, "x");
	config_free(config);
}

static void variables_word_by_word(void **state)
{
	(void)state;
	static const char *const expected[] = {"/bin/x",
					       "data2",
					       "data",
					       "10.77.0.12",
					       "data1",
					       "10.77.0.11",
					       "demo:7946",
					       "serial:data",
					       "10.77.0.102",
					       "a.example",
					       "a.example+b.example",
					       "n=web1",
					       "n=web2",
					       "10.77.0.21:9000",
					       "10.77.0.22:9000",
					       "nfs-a of nfs-a",
					       "nfs-b of nfs-b"};
	config_file("cluster.conf", CLUSTER_CONF);
	config_file("profiles/t.profile", "services = s share@%{shares} nfsd@%{leases.data}\n");
	config_file("services/s.service", "start = /bin/x %{node} %{role} %{address} %{peer} "
					  "%{peer.address} %{cluster}:%{gossip-port} %{disk}"
					  " %{address.nfs-b} %{default-share} %{shares:+} "
					  "n=%{nodes.web} %{addresses.php}:9000"
					  " \"%{leases.data} of %{leases.data}\"\n");
	config_file("services/share@.service", "start = @share %i %{share.address}\n");
	config_file("services/nfsd@.service", "start = @nfsd %i\nwhen = lease %i\n");
	struct config *config = config_good("t", "data2");
	const struct words *argv = &config_service(config, "s")->start.argv;
	assert_int_equal(argv->count, sizeof(expected) / sizeof(expected[0]));
	for (size_t i = 0; i < argv->count; i++)
		assert_string_equal(argv->word[i], expected[i]);
	argv = &config_service(config, "share@b.example")->start.argv;
	assert_string_equal(argv->word[1], "b.example");
	assert_string_equal(argv->word[2], "10.77.0.102");
	assert_string_equal(config_service(config, "share@b.example")->instance, "b.example");
	assert_string_equal(config_service(config, "nfsd@nfs-a")->condition[0].argument, "nfs-a");
	config_free(config);
}

static void an_empty_list_is_no_word(void **state)
{
	(void)state;
	char text[4096];
	snprintf(text, sizeof(text), "%s", CLUSTER_CONF);
	*strstr(text, "[share a.example]") = 0;
	config_file("cluster.conf", text);
	config_file("profiles/t.profile", "services = s share@%{shares}\n");
	config_file("services/s.service",
		    "start = /bin/x %{shares} [%{shares:,}]\nrequires = share@%{shares}\n");
	config_file("services/share@.service", "start = @share %i\n");
	struct config *config = config_good("t", "web1");
	assert_int_equal(config->service_count, 1);
	assert_int_equal(config->service[0].start.argv.count, 2);
	assert_string_equal(config->service[0].start.argv.word[1], "[]");
	assert_int_equal(config->service[0].requires_count, 0);
	config_free(config);
}

struct wrong {
	int row;
	const char *line, *finding;
};

#define ROW(line, finding)              \
	{                               \
		__LINE__, line, finding \
	}

static const struct wrong wrong_variables[] = {
	ROW("nice = %{shares}", "services/s.service:2: nice: found 2 words, expected one"),
	ROW("description = %{shares}", "services/s.service:2: description: found a list, expected "
				       "a single value or %{LIST:TEXT}"),
	ROW("environment = A=%{shares}%{nodes.web}",
	    "services/s.service:2: environment: found two lists, %{shares} and %{nodes.web}, "
	    "expected one"),
	ROW("environment = A=%{node:,}", "services/s.service:2: environment: %{node}: found a "
					 "single value, expected a list before \":\""),
	ROW("environment = A=%{nodes.wep}", "services/s.service:2: environment: %{nodes.wep}: "
					    "found role \"wep\", expected the role of a node"),
	ROW("environment = A=%{address.wep}", "services/s.service:2: environment: %{address.wep}: "
					      "no such service address in cluster.conf"),
	ROW("environment = A=%{disk}",
	    "services/s.service:2: environment: %{disk}: this node has no disk"),
	ROW("environment = A=%{cache}",
	    "services/s.service:2: environment: %{cache}: this node has no cache"),
	ROW("environment = A=%{share.address}",
	    "services/s.service:2: environment: %{share.address}: expected in a template whose "
	    "instance is a share"),
	ROW("requires = share@c", "services/share@.service:1: start: %{share.address}: found "
				  "\"c\", expected the name of a share"),
	ROW("when = lease wep",
	    "services/s.service:2: when: found \"wep\", expected the name of a service address"),
	ROW("template = s.in -> /run/s", "services/s/s.in:2: template: %{nope}: no such variable"),
	ROW("template = nul.in -> /run/s",
	    "services/s/nul.in:1: template: found a byte that is no text (UTF-8 without "
	    "control characters)"),
};

static void wrong_variables_are_refused(void **state)
{
	(void)state;
	config_file("cluster.conf", CLUSTER_CONF);
	config_file("profiles/t.profile", "services = s\n");
	config_file("services/share@.service", "start = @share %i %{share.address}\n");
	config_file("services/s/s.in", "good = %{shares}\nbad = %{nope}\n");
	config_file("services/s/nul.in", "a\x01");
	for (size_t i = 0; i < sizeof(wrong_variables) / sizeof(wrong_variables[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text), "start = /bin/x\n%s\n", wrong_variables[i].line);
		config_file("services/s.service", text);
		config_refused(wrong_variables[i].row, config_try("t", "web1"),
			       wrong_variables[i].finding);
	}
	config_file("services/s.service", "start = /bin/x\ntemplate = t.in -> /run/s\n");
	assert_null(config_try("t", "web1"));
	assert_non_null(strstr(config_finding(0), "template: found no file t.in, neither as "));
}

static void a_mistake_of_many_instances_is_said_once(void **state)
{
	(void)state;
	config_file("cluster.conf", CLUSTER_CONF);
	config_file("profiles/t.profile", "services = share@%{shares}\n");
	config_file("services/share@.service", "start = @share %i\nnice = 77\n");
	assert_null(config_try("t", "web1"));
	assert_int_equal(config_report.count, 1);
}

static const struct wrong wrong_profiles[] = {
	ROW("service = s",
	    "profiles/t.profile:1: service: unknown key, did you mean \"services\"?"),
	ROW("[node a]",
	    "profiles/t.profile:1: node: found a section, expected KEY = VALUE lines only"),
	ROW("role = a\nrole = b", "profiles/t.profile:2: role: found a second time, expected once"),
	ROW("role = A", "profiles/t.profile:1: role: found \"A\", expected a name of at most 31 of "
			"a-z 0-9 . -, the first a letter or digit"),
	ROW("boot-modules = a/b", "profiles/t.profile:1: boot-modules: found \"a/b\", expected the "
				  "name of a kernel module"),
	ROW("sysctl = a.b", "profiles/t.profile:1: sysctl: found \"a.b\", expected NAME=VALUE such "
			    "as fs.leases-enable=0"),
	ROW("sysctl = ../a=1", "profiles/t.profile:1: sysctl: found \"../a=1\", expected "
			       "NAME=VALUE such as fs.leases-enable=0"),
	ROW("sysctl = a=1 a=2",
	    "profiles/t.profile:1: sysctl: found a a second time, expected once"),
	ROW("shutdown-timeout = none", "profiles/t.profile:1: shutdown-timeout: found \"none\", "
				       "expected a duration such as 60s"),
	ROW("shutdown-timeout = 1s\nshutdown-timeout = 1s",
	    "profiles/t.profile:2: shutdown-timeout: found a second time, expected once"),
	ROW("watchdog = 4s",
	    "profiles/t.profile:1: watchdog: found \"4s\", expected whole seconds, "
	    "from 5s to 10m"),
	ROW("watchdog = 11m", "profiles/t.profile:1: watchdog: found \"11m\", expected whole "
			      "seconds, from 5s to 10m"),
	ROW("watchdog = 5500ms", "profiles/t.profile:1: watchdog: found \"5500ms\", expected whole "
				 "seconds, from 5s to 10m"),
	ROW("watchdog = none", "profiles/t.profile:1: watchdog: found \"none\", expected whole "
			       "seconds, from 5s to 10m"),
	ROW("watchdog = /etc/x 30s",
	    "profiles/t.profile:1: watchdog: found \"/etc/x\", expected a device below /dev"),
	ROW("watchdog = a b 30s",
	    "profiles/t.profile:1: watchdog: found 3 words, expected [DEVICE] DURATION"),
	ROW("watchdog = 30s\nwatchdog = 30s",
	    "profiles/t.profile:2: watchdog: found a second time, expected once"),
	ROW("services = S", "profiles/t.profile:1: services: found \"S\", expected the name of a "
			    "service: NAME or NAME@INSTANCE"),
};

static void wrong_profiles_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong_profiles) / sizeof(wrong_profiles[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text), "%s\n", wrong_profiles[i].line);
		config_file("profiles/t.profile", text);
		config_refused(wrong_profiles[i].row, config_try("t", NULL),
			       wrong_profiles[i].finding);
	}
	config_remove("profiles/t.profile");
	config_refused(__LINE__, config_try("t", NULL),
		       ": found no profile \"t\", neither as profiles/t.profile nor built in");
}

static void who_this_node_is(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = s\n");
	config_file("services/s.service", "start = /bin/x %{node}\n");
	/* A lone node may have a name, too. */
	struct config *config = config_good("t", "alone");
	assert_string_equal(config->node, "alone");
	assert_null(config->self);
	config_free(config);

	config_file("cluster.conf", CLUSTER_CONF);
	config_refused(__LINE__, config_try("t", NULL),
		       ": there is a cluster.conf, but this node has no name: no node.conf, no "
		       "--node=NAME");
	config_refused(__LINE__, config_try("t", "web9"),
		       ": cluster.conf has no [node web9], which this node is by --node");

	config_file("node.conf", "name = data1\nsecret-key = " KEY_SECRET_1 "\n");
	config = config_good("t", NULL);
	assert_string_equal(config->node, "data1");
	assert_string_equal(config->self->name, "data1");
	assert_true(config->has_identity);
	config_free(config);
	config = config_good("t", "web1");
	assert_string_equal(config->self->name, "web1");
	assert_false(config->has_identity);
	config_free(config);
	config = config_good(NULL, NULL);
	assert_string_equal(config->self->name, "data1");
	assert_int_equal(config->service_count, 0);
	config_free(config);

	config_file("node.conf", "name = data2\nsecret-key = " KEY_SECRET_1 "\n");
	config_refused(__LINE__, config_try("t", NULL),
		       ": node.conf's secret-key does not belong to the key of [node data2] in "
		       "cluster.conf");

	char path[128];
	config_file("node.conf", "name = data1\nsecret-key = " KEY_SECRET_1 "\n");
	snprintf(path, sizeof(path), "%s/node.conf", config_dir);
	assert_int_equal(chmod(path, 0640), 0);
	config_refused(__LINE__, config_try("t", NULL),
		       "node.conf: found mode 0640, expected 0600: it holds the node's secret key");
	config_remove("node.conf");

	config_file("profiles/t.profile", "role = web\nservices = s\n");
	config_refused(__LINE__, config_try("t", "data1"),
		       "profiles/t.profile: role: found web, but [node data1] of cluster.conf has "
		       "role data");
}

static void what_overrides_what(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = s\n");
	config_file("services/s.service", "start = /bin/x\n");
	config_file("services/deep/s.service", "start = /bin/x\n");
	assert_null(config_try("t", NULL));
	assert_non_null(
		strstr(config_finding(0), "found a second file of that name, the first is "));
	config_remove("services/s.service");
	struct config *config = config_good("t", NULL);
	assert_non_null(strstr(config->service[0].file, "/services/deep/s.service"));
	config_free(config);

	/* The built-in service `network` gives way to the file of that name. */
	config_file("services/network.service", "start = /bin/own\n");
	config_file("profiles/t.profile", "services = network\n");
	config = config_good("t", NULL);
	assert_string_equal(config->service[0].start.argv.word[0], "/bin/own");
	config_free(config);
	config_remove("services/network.service");
	config = config_good("t", NULL);
	assert_string_equal(config->service[0].file, "(built-in)/services/network/network.service");
	config_free(config);
}

static void files_that_cannot_be_read(void **state)
{
	(void)state;
	char path[128];
	config_file("profiles/t.profile", "services = s\n");
	config_file("services/x.service", "start = /bin/x\n");
	snprintf(path, sizeof(path), "%s/services/s.service", config_dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	config_refused(__LINE__, config_try("t", NULL),
		       "services/s.service: cannot be read: not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nowhere", path), 0);
	config_refused(__LINE__, config_try("t", NULL),
		       "services/s.service: cannot be read: No such file or directory");
	snprintf(path, sizeof(path), "%s/cluster.conf", config_dir);
	assert_int_equal(mkdir(path, 0700), 0);
	config_refused(__LINE__, config_try("t", "web1"),
		       "cluster.conf: cannot be read: not a regular file");
}

static void the_boot_part_needs_no_cluster(void **state)
{
	(void)state;
	struct config_source source = {.directory = config_dir, .profile = "t"};
	config_file("profiles/t.profile",
		    "role = web\nboot-modules = virtio_net\nsysctl = a=%{address}\n"
		    "watchdog = /dev/watchdog1 1m\nservices = x@%{shares}\n");
	memset(&config_report, 0, sizeof(config_report));
	struct config *config = config_load_boot(&source, &config_report);
	assert_non_null(config);
	assert_int_equal(config->boot_modules.count, 1);
	assert_string_equal(config->boot_modules.word[0], "virtio_net");
	assert_string_equal(config->watchdog.device, "/dev/watchdog1");
	assert_int_equal(config->watchdog.timeout_ms, 60000);
	config_free(config);
	source.profile = "u";
	assert_null(config_load_boot(&source, &config_report));
	assert_int_equal(config_report.count, 1);
}

static void check_looks_at_everything(void **state)
{
	(void)state;
	struct config_source source = {.directory = config_dir, .accounts = config_dir};
	struct check_summary summary;
	config_file("passwd", PASSWD);
	config_file("group", GROUP);
	config_file("profiles/own.profile", "services = used\n");
	config_file("services/used.service", "start = /bin/x\n");
	config_file("services/unused.service", "start = /bin/x\nnice = 20\n");
	memset(&config_report, 0, sizeof(config_report));
	config_check(&source, &config_report, &summary);
	assert_int_equal(config_report.count, 1);
	assert_string_equal(
		config_finding(0),
		"services/unused.service:2: nice: found \"20\", expected a number from -20 to 19");
	assert_int_equal(summary.profiles, 1);
	assert_int_equal(summary.services, 1);

	source.profile = "own";
	memset(&config_report, 0, sizeof(config_report));
	config_check(&source, &config_report, &summary);
	assert_int_equal(config_report.count, 0);

	/* What is wrong for one node only is found without naming it. */
	config_file("cluster.conf", CLUSTER_CONF);
	config_file("profiles/own.profile", "role = php\nservices = used\n");
	config_file("services/used.service", "start = /bin/x %{cache}\n");
	memset(&config_report, 0, sizeof(config_report));
	config_check(&source, &config_report, &summary);
	assert_int_equal(config_report.count, 1);
	assert_string_equal(config_finding(0),
			    "services/used.service:1: start: %{cache}: this node has no cache");
}

static bool only_mount(const char *name)
{
	return strcmp(name, "mount") == 0;
}

static bool only_read(const struct words *words, char *error, size_t error_bytes)
{
	snprintf(error, error_bytes, "unknown system call \"%s\"", words->word[0]);
	return strcmp(words->word[0], "read") == 0;
}

static void workers_and_filters_are_looked_up(void **state)
{
	(void)state;
	struct config_source source = {.directory = config_dir,
				       .profile = "t",
				       .worker_known = only_mount,
				       .filter_good = only_read};
	config_file("profiles/t.profile", "services = s\n");
	config_file("services/s.service", "kind = oneshot\nstart = @mount\nstop = @umount\n");
	memset(&config_report, 0, sizeof(config_report));
	config_refused(__LINE__, config_load(&source, &config_report),
		       "services/s.service:3: stop: found \"@umount\", expected the name of a "
		       "built-in worker after @");
	config_file("services/s.service", "start = @mount\nseccomp = raed\n");
	memset(&config_report, 0, sizeof(config_report));
	config_refused(__LINE__, config_load(&source, &config_report),
		       "services/s.service:2: seccomp: unknown system call \"raed\"");
	config_file("services/s.service", "start = @mount\nseccomp = read\n");
	memset(&config_report, 0, sizeof(config_report));
	struct config *config = config_load(&source, &config_report);
	assert_non_null(config);
	config_free(config);
}

/* Every profile of the project, for every node of the sample cluster. */
static void the_built_in_profiles_load(void **state)
{
	(void)state;
	struct config_source source = {.directory = config_dir, .accounts = config_dir};
	struct check_summary summary;
	size_t profiles = 0;
	config_file("passwd", PASSWD);
	config_file("group", GROUP);
	config_file("cluster.conf", CLUSTER_CONF);
	memset(&config_report, 0, sizeof(config_report));
	config_check(&source, &config_report, &summary);
	for (size_t i = 0; i < config_report.count && i < CONFIG_FINDINGS_MAX; i++)
		print_error("%s\n", config_report.finding[i]);
	assert_int_equal(config_report.count, 0);
	for (size_t i = 0; i < embedded_file_count; i++)
		profiles += strncmp(embedded_files[i].name, "profiles/", 9) == 0;
	assert_int_equal(summary.profiles, profiles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(order_follows_what_is_needed, begin_empty),
		cmocka_unit_test_setup(nothing_requires_what_excludes_it, begin_empty),
		cmocka_unit_test_setup(cycles_show_their_path, begin_empty),
		cmocka_unit_test_setup(a_long_cycle_fits_its_message, begin_empty),
		cmocka_unit_test_setup(who_needs_what_is_missing, begin_empty),
		cmocka_unit_test_setup(a_pool_has_members, begin_empty),
		cmocka_unit_test_setup(variables_word_by_word, begin_empty),
		cmocka_unit_test_setup(an_empty_list_is_no_word, begin_empty),
		cmocka_unit_test_setup(wrong_variables_are_refused, begin_empty),
		cmocka_unit_test_setup(a_mistake_of_many_instances_is_said_once, begin_empty),
		cmocka_unit_test_setup(wrong_profiles_are_refused, begin_empty),
		cmocka_unit_test_setup(who_this_node_is, begin_empty),
		cmocka_unit_test_setup(what_overrides_what, begin_empty),
		cmocka_unit_test_setup(files_that_cannot_be_read, begin_empty),
		cmocka_unit_test_setup(the_boot_part_needs_no_cluster, begin_empty),
		cmocka_unit_test_setup(check_looks_at_everything, begin_empty),
		cmocka_unit_test_setup(workers_and_filters_are_looked_up, begin_empty),
		cmocka_unit_test_setup(the_built_in_profiles_load, begin_empty),
	};
	return cmocka_run_group_tests_name("configurations", tests, config_files_begin,
					   config_files_end);
}
