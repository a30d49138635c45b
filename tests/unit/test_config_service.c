/* Every key of a service file: what a good value becomes, and the exact message for a bad one. */
#include "tests/unit/config_files.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/un.h>

static void a_file_with_every_key(void **state)
{
	(void)state;
	config_file("cluster.conf", CLUSTER_CONF);
	config_file("profiles/t.profile", "services = full\n");
	config_file("services/other.service", "start = /bin/other\n");
	config_file("services/full/full.conf.in", "node = %{node}\nbackend = %{addresses.php}\n");
	config_file("services/full.service",
		    "description = all of it, \"really\" # not this\n"
		    "kind = daemon\n"
		    "start = /bin/full -x \"a b\" \"\" \"q\\\"\\\\#\" %% %{node}\n"
		    "reload = @poke 1\n"
		    "requires = other\n"
		    "when = lease web\n"
		    "when = path /dev/null\n"
		    "listen = tcp 0.0.0.0:80\n"
		    "listen = udp [::1]:53\n"
		    "listen = unix /run/full.sock\n"
		    "ready = unix /run/%{node}.ready\n"
		    "start-timeout = 500ms\n"
		    "stop-timeout = none\n"
		    "stop-signal = QUIT\n"
		    "restart = never\n"
		    "restart-delay = 2s\n"
		    "restart-delay-max = 2m\n"
		    "healthy-after = 1h\n"
		    "success-exit = 3 69\n"
		    "channel = yes\n"
		    "template = full.conf.in -> /run/full.conf\n"
		    "user = anna\n"
		    "groups = staff 77\n"
		    "umask = 0077\n"
		    "nice = -5\n"
		    "oom-score = -1000\n"
		    "limit-nofile = 1024 4K\n"
		    "limit-core = 0\n"
		    "limit-as = unlimited\n"
		    "directory = /srv\n"
		    "environment = A=1 \"B=two words\"\n"
		    "environment = C=\n"
		    "runtime-directory = full full.d\n"
		    "capabilities = net_bind_service kill\n"
		    "seccomp = @basic-io socket execve:EPERM\n"
		    "no-new-privileges = no\n"
		    "private-tmp = yes\n"
		    "private-network = yes\n"
		    "root = empty\n"
		    "hidden = /etc/supervisor /root\n"
		    "memory-max = 64M\n"
		    "pids-max = 12\n"
		    "scheduling = rr 7 optional\n"
		    "cpu-affinity = 0 2-4 63\n"
		    "io-class = best-effort 6\n"
		    "memory-high = 48M\n"
		    "cpu-weight = 10000\n"
		    "cpu-max = 150%\n"
		    "io-weight = 1\n");
	struct config *config = config_good("t", "web1");
	const struct service_def *def = config_service(config, "full");

	assert_string_equal(def->description, "all of it, \"really\"");
	assert_int_equal(def->kind, SERVICE_DAEMON);
	assert_int_equal(def->start.argv.count, 7);
	assert_false(def->start.builtin);
	assert_string_equal(def->start.argv.word[0], "/bin/full");
	assert_string_equal(def->start.argv.word[2], "a b");
	assert_string_equal(def->start.argv.word[3], "");
	assert_string_equal(def->start.argv.word[4], "q\"\\#");
	assert_string_equal(def->start.argv.word[5], "%");
	assert_string_equal(def->start.argv.word[6], "web1");
	assert_null(def->start.argv.word[7]);
	assert_true(def->reload.builtin);
	assert_string_equal(def->reload.argv.word[0], "poke");
	assert_int_equal(def->stop.argv.count, 0);

	assert_int_equal(def->requires_count, 1);
	assert_string_equal(config->service[def->requires[0]].name, "other");
	assert_int_equal(def->condition_count, 2);
	assert_int_equal(def->condition[0].kind, CONDITION_LEASE);
	assert_string_equal(def->condition[0].argument, "web");
	assert_int_equal(def->condition[1].kind, CONDITION_PATH);

	assert_int_equal(def->listen_count, 3);
	const struct sockaddr_in *tcp = (const struct sockaddr_in *)&def->listen[0].address;
	assert_string_equal(def->listen[0].text, "tcp 0.0.0.0:80");
	assert_int_equal(def->listen[0].socket_type, SOCK_STREAM);
	assert_int_equal(tcp->sin_family, AF_INET);
	assert_int_equal(ntohs(tcp->sin_port), 80);
	const struct sockaddr_in6 *udp = (const struct sockaddr_in6 *)&def->listen[1].address;
	assert_int_equal(def->listen[1].socket_type, SOCK_DGRAM);
	assert_int_equal(udp->sin6_family, AF_INET6);
	assert_int_equal(udp->sin6_addr.s6_addr[15], 1);
	assert_int_equal(def->listen[1].address_length, sizeof(struct sockaddr_in6));
	const struct sockaddr_un *path = (const struct sockaddr_un *)&def->listen[2].address;
	assert_string_equal(path->sun_path, "/run/full.sock");
	assert_int_equal(def->ready, READY_PROBE);
	assert_true(def->ready_probe.builtin);
	assert_string_equal(def->ready_probe.argv.word[0], "check");
	assert_string_equal(def->ready_probe.argv.word[1], "--until-ready");
	assert_string_equal(def->ready_probe.argv.word[3], "/run/web1.ready");

	assert_int_equal(def->start_timeout_ms, 500);
	assert_int_equal(def->stop_timeout_ms, 0);
	assert_int_equal(def->stop_signal, SIGQUIT);
	assert_int_equal(def->restart, RESTART_NEVER);
	assert_int_equal(def->restart_delay_ms, 2000);
	assert_int_equal(def->restart_delay_max_ms, 120000);
	assert_int_equal(def->healthy_after_ms, 3600000);
	assert_int_equal(def->success_exit_count, 2);
	assert_int_equal(def->success_exit[1], 69);
	assert_true(def->channel);
	assert_int_equal(def->template_count, 1);
	assert_string_equal(def->template[0].path, "/run/full.conf");
	assert_string_equal(def->template[0].text,
			    "node = web1\nbackend = 10.77.0.21\nbackend = 10.77.0.22\n");
	assert_int_equal(def->template[0].size, strlen(def->template[0].text));

	assert_true(def->has_user);
	assert_int_equal(def->uid, 1000);
	assert_int_equal(def->gid, 1001);
	assert_int_equal(def->group_count, 2);
	assert_int_equal(def->groups[0], 50);
	assert_int_equal(def->groups[1], 77);
	assert_int_equal(def->umask, 077);
	assert_int_equal(def->nice, -5);
	assert_int_equal(def->oom_score_adj, -1000);
	assert_int_equal(def->limit_count, 3);
	assert_int_equal(def->limit[0].resource, RLIMIT_NOFILE);
	assert_int_equal(def->limit[0].value.rlim_cur, 1024);
	assert_int_equal(def->limit[0].value.rlim_max, 4096);
	assert_int_equal(def->limit[1].value.rlim_max, 0);
	assert_true(def->limit[2].value.rlim_max == RLIM_INFINITY);
	assert_string_equal(def->directory, "/srv");
	assert_int_equal(def->environment.count, 3);
	assert_string_equal(def->environment.word[1], "B=two words");
	assert_string_equal(def->environment.word[2], "C=");
	assert_int_equal(def->runtime_directories.count, 2);
	assert_true(def->capabilities == (1u << CAP_NET_BIND_SERVICE | 1u << CAP_KILL));
	assert_false(def->all_capabilities);
	assert_int_equal(def->seccomp.count, 3);
	assert_false(def->no_new_privileges);
	assert_true(def->private_tmp);
	assert_true(def->private_network);
	assert_string_equal(def->root, "empty");
	assert_int_equal(def->hidden.count, 2);
	assert_true(def->memory_max_bytes == 64 << 20);
	assert_int_equal(def->pids_max, 12);
	const struct process_share *share = &def->share;
	assert_int_equal(share->scheduling, SCHED_RR);
	assert_int_equal(share->scheduling_priority, 7);
	assert_true(share->scheduling_optional);
	assert_int_equal(CPU_COUNT(&share->cpu_affinity), 5);
	assert_true(CPU_ISSET(0, &share->cpu_affinity) && CPU_ISSET(2, &share->cpu_affinity) &&
		    CPU_ISSET(4, &share->cpu_affinity) && CPU_ISSET(63, &share->cpu_affinity));
	assert_int_equal(share->io_priority, 2 << 13 | 6);
	assert_true(share->memory_high_bytes == 48 << 20);
	assert_int_equal(share->cpu_weight, 10000);
	assert_int_equal(share->cpu_quota_us, 150000);
	assert_int_equal(share->cpu_period_us, 100000);
	assert_int_equal(share->io_weight, 1);
	config_free(config);
	config_remove("cluster.conf");
}

static void a_file_that_says_nothing_but_the_program(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = s once\n");
	config_file("services/s.service", "start = /bin/s\n");
	config_file("services/once.service",
		    "kind = oneshot\nstart = @once up\nstop = @once down\n");
	struct config *config = config_good("t", NULL);
	const struct service_def *def = config_service(config, "s");
	assert_int_equal(def->kind, SERVICE_DAEMON);
	assert_int_equal(def->ready, READY_NOW);
	assert_int_equal(def->restart, RESTART_ALWAYS);
	assert_int_equal(def->start_timeout_ms, 30000);
	assert_int_equal(def->stop_timeout_ms, 10000);
	assert_int_equal(def->stop_signal, SIGTERM);
	assert_int_equal(def->restart_delay_ms, 100);
	assert_int_equal(def->restart_delay_max_ms, 30000);
	assert_int_equal(def->umask, 022);
	assert_string_equal(def->directory, "/");
	assert_string_equal(def->description, "");
	assert_string_equal(def->instance, "");
	assert_true(def->no_new_privileges);
	assert_true(def->capabilities == 0);
	assert_false(def->all_capabilities);
	assert_false(def->has_user);
	assert_int_equal(def->pool, -1);
	def = config_service(config, "once");
	assert_int_equal(def->ready, READY_EXIT);
	assert_int_equal(def->restart, RESTART_ON_FAILURE);
	assert_string_equal(def->stop.argv.word[1], "down");
	config_free(config);
}

static void process_time_in_words(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t quota_us, period_us;
	} row[] = {{"1%", 1000, 100000},
		   {"100%", 100000, 100000},
		   {"100000%", 100000000, 100000},
		   {"20ms 100ms", 20000, 100000},
		   {"1s 1s", 1000000, 1000000}};
	config_file("profiles/t.profile", "services = s\n");
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		char text[128];
		snprintf(text, sizeof(text), "start = /bin/s\ncpu-max = %s\n", row[i].text);
		config_file("services/s.service", text);
		struct config *config = config_good("t", NULL);
		assert_int_equal(config_service(config, "s")->share.cpu_quota_us, row[i].quota_us);
		assert_int_equal(config_service(config, "s")->share.cpu_period_us,
				 row[i].period_us);
		config_free(config);
	}
}

static void user_and_group_in_any_order(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = a b c d\n");
	config_file("services/a.service", "start = /bin/s\nuser = anna\ngroup = staff\n");
	config_file("services/b.service", "start = /bin/s\ngroup = staff\nuser = anna\n");
	config_file("services/c.service", "start = /bin/s\nuser = 1000\n");
	config_file("services/d.service", "start = /bin/s\nuser = 4711\n");
	struct config *config = config_good("t", NULL);
	assert_int_equal(config_service(config, "a")->gid, 50);
	assert_int_equal(config_service(config, "b")->gid, 50);
	assert_int_equal(config_service(config, "b")->uid, 1000);
	assert_int_equal(config_service(config, "c")->gid, 1001);
	assert_int_equal(config_service(config, "d")->gid, 4711);
	config_free(config);
}

/* `text` follows "start = /bin/s" as line 2. */
struct refused {
	int row;
	const char *text, *finding;
};

#define ROW(text, finding)                                       \
	{                                                        \
		__LINE__, text, "services/s.service:2: " finding \
	}

static const struct refused refused[] = {
	ROW("colour = red", "colour: unknown key"),
	ROW("require = a", "require: unknown key, did you mean \"requires\"?"),
	ROW("Kind = daemon", "line: found \"Kind = daemon\", expected KEY = VALUE"),
	ROW("kind daemon", "line: found \"kind daemon\", expected KEY = VALUE"),
	ROW("kind =", "kind: found nothing after \"=\", expected a value"),
	ROW("kind = # later", "kind: found nothing after \"=\", expected a value"),
	ROW("[node a]", "node: found a section, expected KEY = VALUE lines only"),
	ROW("start = /bin/t", "start: found a second time, expected once"),
	ROW("kind = server", "kind: found \"server\", expected daemon, oneshot or group"),
	ROW("kind = daemon daemon", "kind: found 2 words, expected one"),
	ROW("reload = poke",
	    "reload: found \"poke\", expected the program's absolute path, or @WORKER"),
	ROW("reload = @", "reload: found \"@\", expected @ and the name of a built-in worker"),
	ROW("reload = /bin/../x",
	    "reload: found \"/bin/../x\", expected an absolute path without //, . and .."),
	ROW("reload = \"/bin/x", "reload: found \"\"/bin/x\", expected a closing quote"),
	ROW("reload = /bin/x a\"b\"",
	    "reload: found \"a\"b\"\", expected the whole word in quotes: \"WORD\""),
	ROW("reload = \"/bin/x\"a",
	    "reload: found \"\"/bin/x\"a\", expected a blank after the closing quote"),
	ROW("reload = \"/bin/\\x\"",
	    "reload: found \"\\x\"\", expected \\\" or \\\\ inside quotes"),
	ROW("reload = /bin/x %i", "reload: %i: found in a service that has no instance"),
	ROW("reload = /bin/x %d", "reload: found \"%d\", expected %%, %i or %{NAME}"),
	ROW("reload = /bin/x %", "reload: found \"%\", expected %%, %i or %{NAME}"),
	ROW("reload = /bin/x %{}", "reload: found \"%{}\", expected %%, %i or %{NAME}"),
	ROW("reload = /bin/x %{nodes.", "reload: found \"%{nodes.\", expected %%, %i or %{NAME}"),
	ROW("reload = /bin/x %{nope}", "reload: %{nope}: no such variable"),
	ROW("reload = /bin/x %{node}",
	    "reload: %{node}: this node has no name: no node.conf, no --node=NAME"),
	ROW("reload = /bin/x %{shares}",
	    "reload: %{shares}: needs cluster.conf, and there is none"),
	ROW("requires = a/b",
	    "requires: found \"a/b\", expected the name of a service: NAME or NAME@INSTANCE"),
	ROW("requires = a:1",
	    "requires: found \"a:1\", expected the name of a service: NAME or NAME@INSTANCE"),
	ROW("requires = onze", "requires: found \"onze\", expected a service: there is no "
			       "onze.service, did you mean \"once\"?"),
	ROW("wants = zzzzzz@x",
	    "wants: found \"zzzzzz@x\", expected a service: there is no zzzzzz@.service"),
	ROW("after = zzzzzz",
	    "after: found \"zzzzzz\", expected a service: there is no zzzzzz.service"),
	ROW("requires = s",
	    "found the cycle s -> s, expected services that can start one after another"),
	ROW("when = lease web", "when: needs cluster.conf, and there is none"),
	ROW("when = lease", "when: found 1 words, expected lease NAME or path PATH"),
	ROW("when = moon full", "when: found \"moon\", expected lease or path"),
	ROW("when = path /srv/x",
	    "when: found \"/srv/x\", expected a path below /dev, /etc, /proc, "
	    "/run, /sys, /tmp or /var"),
	ROW("when = path /run",
	    "when: found \"/run\", expected a path below /dev, /etc, /proc, /run, "
	    "/sys, /tmp or /var"),
	ROW("listen = unix /srv/x", "listen: found \"/srv/x\", expected a path below /dev, /etc, "
				    "/proc, /run, /sys, /tmp or /var"),
	ROW("ready = unix /data/x", "ready: found \"/data/x\", expected a path below /dev, /etc, "
				    "/proc, /run, /sys, /tmp or /var"),
	ROW("when = path x", "when: found \"x\", expected an absolute path without //, . and .."),
	ROW("listen = 80",
	    "listen: found 1 words, expected tcp ADDRESS:PORT, udp ADDRESS:PORT or unix PATH"),
	ROW("listen-from = 10.0.0.1", "listen-from: found without listen, expected both"),
	ROW("listen-from = 10.0.0.1\nlisten = tcp [::]:80",
	    "listen-from: found with a socket that is not IPv4"),
	ROW("listen-from = 10.0.0.1/24\nlisten = tcp 0.0.0.0:80",
	    "listen-from: found \"10.0.0.1/24\", expected an IPv4 address of a host"),
	ROW("listen = sctp 0.0.0.0:80", "listen: found \"sctp\", expected tcp, udp or unix"),
	ROW("listen = tcp 0.0.0.0",
	    "listen: found \"0.0.0.0\", expected ADDRESS:PORT such as 0.0.0.0:80 or [::]:80"),
	ROW("listen = tcp 0.0.0.0:0",
	    "listen: found \"0.0.0.0:0\", expected ADDRESS:PORT such as 0.0.0.0:80 or [::]:80"),
	ROW("listen = tcp 0.0.0.0:65536",
	    "listen: found \"0.0.0.0:65536\", expected ADDRESS:PORT such as 0.0.0.0:80 or [::]:80"),
	ROW("listen = tcp :80",
	    "listen: found \":80\", expected ADDRESS:PORT such as 0.0.0.0:80 or [::]:80"),
	ROW("listen = tcp ::1:80",
	    "listen: found \"::1:80\", expected ADDRESS:PORT such as 0.0.0.0:80 or [::]:80"),
	ROW("listen = tcp []:80",
	    "listen: found \"[]:80\", expected ADDRESS:PORT such as 0.0.0.0:80 or [::]:80"),
	ROW("listen = tcp [::1:80",
	    "listen: found \"[::1:80\", expected ADDRESS:PORT such as 0.0.0.0:80 or [::]:80"),
	ROW("listen = tcp localhost:80",
	    "listen: found \"localhost:80\", expected ADDRESS:PORT such as 0.0.0.0:80 or [::]:80"),
	ROW("listen = unix run/x",
	    "listen: found \"run/x\", expected an absolute path without //, . and .."),
	ROW("ready = soon", "ready: found \"soon\", expected "
			    "now, exit, notify, fd NUMBER, pid-file PATH, tcp ADDRESS:PORT, unix "
			    "PATH or command /PATH ARGUMENT…"),
	ROW("ready = tcp", "ready: found \"tcp\", expected "
			   "now, exit, notify, fd NUMBER, pid-file PATH, tcp ADDRESS:PORT, unix "
			   "PATH or command /PATH ARGUMENT…"),
	ROW("ready = now now", "ready: found \"now\", expected "
			       "now, exit, notify, fd NUMBER, pid-file PATH, tcp ADDRESS:PORT, "
			       "unix PATH or command /PATH ARGUMENT…"),
	ROW("ready = exit", "ready: found exit in a daemon, expected another way to become ready"),
	ROW("ready = fd 2", "ready: found \"2\", expected a number from 3 to 63"),
	ROW("ready = fd 3\nlisten = tcp 0.0.0.0:80",
	    "ready: found the number of a descriptor that is passed to it"),
	ROW("ready = pid-file /srv/x.pid",
	    "ready: found \"/srv/x.pid\", expected a path below /dev, /etc, "
	    "/proc, /run, /sys, /tmp or /var"),
	ROW("ready = command", "ready: found no program after command, expected one"),
	ROW("ready = command true",
	    "ready: found \"true\", expected the program's absolute path, or @WORKER"),
	ROW("reload-signal = FOO", "reload-signal: found \"FOO\", expected HUP, INT, QUIT, "
				   "TERM, KILL, USR1, USR2, PWR, CONT or WINCH"),
	ROW("reload-signal = HUP\nreload = /bin/x",
	    "reload-signal: found together with reload, expected one of them"),
	ROW("conflicts = s", "conflicts: found the service itself"),
	ROW("conflicts = zzzzzz",
	    "conflicts: found \"zzzzzz\", expected a service: there is no zzzzzz.service"),
	ROW("when-lost = run", "when-lost: found \"run\", expected stop or keep"),
	ROW("restart-limit = 5", "restart-limit: found 1 words, expected COUNT DURATION: 5 1m"),
	ROW("restart-limit = 17 1m", "restart-limit: found \"17\", expected a number from 1 to 16"),
	ROW("restart-limit = 5 none",
	    "restart-limit: found \"none\", expected a duration such as 500ms, 5s, 2m, 1h"),
	ROW("restart-limit = 5 1m\nrestart = never", "restart-limit: found with restart = never"),
	ROW("on-limit = reboot", "on-limit: found without restart-limit, expected both"),
	ROW("on-limit = panic\nrestart-limit = 5 1m",
	    "on-limit: found \"panic\", expected give-up, reboot, /PATH ARGUMENT… or @WORKER"),
	ROW("check = ping 10.0.0.1",
	    "check: found \"ping\", expected tcp ADDRESS:PORT, unix PATH, http ADDRESS:PORT /PATH "
	    "[HOST], fcgi ADDRESS:PORT, fcgi-unix PATH or command /PATH ARGUMENT…"),
	ROW("check = http 10.0.0.1:80",
	    "check: found \"http\", expected tcp ADDRESS:PORT, unix PATH, http ADDRESS:PORT /PATH "
	    "[HOST], fcgi ADDRESS:PORT, fcgi-unix PATH or command /PATH ARGUMENT…"),
	ROW("check = http 10.0.0.1:80 index",
	    "check: found \"index\", expected a path to ask for, such as /, in plain "
	    "ASCII without blanks"),
	ROW("check = http 127.0.0.1:80 \"/a b\"",
	    "check: found \"/a b\", expected a path to ask for, such as /, in plain ASCII "
	    "without blanks"),
	ROW("check = http 127.0.0.1:80 / \"a b\"",
	    "check: found \"a b\", expected the name of a host"),
	ROW("check = http 127.0.0.1:80 / \"\"", "check: found \"\", expected the name of a host"),
	ROW("check = tcp 127.0.0.1:80\nprivate-network = yes",
	    "check: found with private-network, where nobody can ask it that"),
	ROW("check = fcgi 127.0.0.1:80\nprivate-network = yes",
	    "check: found with private-network, where nobody can ask it that"),
	ROW("check = http 127.0.0.1:80 /\nprivate-network = yes",
	    "check: found with private-network, where nobody can ask it that"),
	ROW("ready = tcp 127.0.0.1:80\nprivate-network = yes",
	    "ready: found with private-network, where nobody can ask it that"),
	ROW("check-retries = 3", "check-retries: found without check, expected both"),
	ROW("check-retries = 0\ncheck = tcp 10.0.0.1:80",
	    "check-retries: found \"0\", expected a number from 1 to 100"),
	ROW("on-demand = yes", "on-demand: found without listen, expected both"),
	ROW("idle-stop = 1m", "idle-stop: found without on-demand, expected both"),
	ROW("start-timeout = 5",
	    "start-timeout: found \"5\", expected a duration such as 500ms, 5s, 2m, 1h, or none"),
	ROW("start-timeout = 0s",
	    "start-timeout: found \"0s\", expected a duration above 0, or none"),
	ROW("start-timeout = 05s",
	    "start-timeout: found \"05s\", expected a duration such as 500ms, 5s, 2m, 1h, or none"),
	ROW("start-timeout = -5s",
	    "start-timeout: found \"-5s\", expected a duration such as 500ms, 5s, 2m, 1h, or none"),
	ROW("start-timeout = 1.5s", "start-timeout: found \"1.5s\", expected a duration such as "
				    "500ms, 5s, 2m, 1h, or none"),
	ROW("start-timeout = 25h",
	    "start-timeout: found \"25h\", expected a duration of at most 24h"),
	ROW("start-timeout = 99999999999999999999s",
	    "start-timeout: found \"99999999999999999999s\", expected a duration such as 500ms, "
	    "5s, 2m, 1h, or none"),
	ROW("stop-timeout = 1d",
	    "stop-timeout: found \"1d\", expected a duration such as 500ms, 5s, 2m, 1h, or none"),
	ROW("stop-signal = SIGTERM", "stop-signal: found \"SIGTERM\", expected HUP, INT, QUIT, "
				     "TERM, KILL, USR1, USR2, PWR, CONT or WINCH"),
	ROW("restart = maybe", "restart: found \"maybe\", expected always, on-failure or never"),
	ROW("restart-delay = none",
	    "restart-delay: found \"none\", expected a duration such as 500ms, 5s, 2m, 1h"),
	ROW("restart-delay = 31s", "restart-delay: found more than restart-delay-max"),
	ROW("success-exit = 0", "success-exit: found \"0\", expected a number from 1 to 255"),
	ROW("success-exit = 256", "success-exit: found \"256\", expected a number from 1 to 255"),
	ROW("success-exit = 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
	    "success-exit: found 17 exit codes, expected at most 16"),
	ROW("channel = true", "channel: found \"true\", expected yes or no"),
	ROW("template = x.in", "template: found something else, expected FILE -> /PATH"),
	ROW("template = x.in -> run/x",
	    "template: found \"run/x\", expected an absolute path without //, . and .."),
	ROW("template = ../x.in -> /run/x", "template: found \"../x.in\", expected the name of a "
					    "file FILE.in beside the service's"),
	ROW("template = x -> /run/x",
	    "template: found \"x\", expected the name of a file FILE.in beside the service's"),
	ROW("user = otto", "user: found \"otto\", expected a user of /etc/passwd, or a number"),
	ROW("user = 4294967295",
	    "user: found \"4294967295\", expected a user of /etc/passwd, or a number"),
	ROW("user = ann", "user: found \"ann\", expected a user of /etc/passwd, or a number"),
	ROW("group = staff", "group: found without user, expected both"),
	ROW("groups = nix", "groups: found \"nix\", expected a group of /etc/group, or a number"),
	ROW("groups = 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
	    "groups: found 17 groups, expected at most 16"),
	ROW("umask = 22", "umask: found \"22\", expected octal digits such as 022"),
	ROW("umask = 028", "umask: found \"028\", expected octal digits such as 022"),
	ROW("nice = 20", "nice: found \"20\", expected a number from -20 to 19"),
	ROW("nice = +1", "nice: found \"+1\", expected a number from -20 to 19"),
	ROW("oom-score = -1001",
	    "oom-score: found \"-1001\", expected a number from -1000 to 1000"),
	ROW("limit-files = 1", "limit-files: unknown limit, expected limit- and the name of a "
			       "resource of getrlimit(2)"),
	ROW("limit-nofile = 1 2 3",
	    "limit-nofile: found 3 words, expected one limit, or a soft and a hard one"),
	ROW("limit-nofile = 2 1",
	    "limit-nofile: found \"2\", expected a soft limit up to the hard one, 1"),
	ROW("limit-nofile = many",
	    "limit-nofile: found \"many\", expected a size such as 64K, 1M, 2G"),
	ROW("directory = srv",
	    "directory: found \"srv\", expected an absolute path without //, . and .."),
	ROW("environment = A", "environment: found \"A\", expected NAME=VALUE"),
	ROW("environment = 1A=x", "environment: found \"1A=x\", expected NAME=VALUE"),
	ROW("environment = A=1 A=2", "environment: found A a second time, expected once"),
	ROW("runtime-directory = /run/x",
	    "runtime-directory: found \"/run/x\", expected the name of a directory below /run"),
	ROW("runtime-directory = ..",
	    "runtime-directory: found \"..\", expected the name of a directory below /run"),
	ROW("capabilities = net_admin flying",
	    "capabilities: found \"flying\", expected a capability such as net_admin"),
	ROW("capabilities = cap_kill",
	    "capabilities: found \"cap_kill\", expected a capability such as net_admin"),
	ROW("capabilities = KILL",
	    "capabilities: found \"KILL\", expected a capability such as net_admin"),
	ROW("seccomp = @",
	    "seccomp: found \"@\", expected a system call or @GROUP, perhaps with :ERRNO"),
	ROW("seccomp = read,write",
	    "seccomp: found \"read,write\", expected a system call or @GROUP, perhaps with :ERRNO"),
	ROW("no-new-privileges = 1", "no-new-privileges: found \"1\", expected yes or no"),
	ROW("private-tmp = y", "private-tmp: found \"y\", expected yes or no"),
	ROW("private-network = on", "private-network: found \"on\", expected yes or no"),
	ROW("ready = notify\nroot = empty",
	    "ready: found together with root: in a root of its own the service cannot reach "
	    "$NOTIFY_SOCKET"),
	ROW("root = /",
	    "root: found \"/\", expected empty, or the absolute path of a directory below /"),
	ROW("root = void",
	    "root: found \"void\", expected empty, or the absolute path of a directory below /"),
	ROW("hidden = root",
	    "hidden: found \"root\", expected an absolute path without //, . and .."),
	ROW("hidden = /a/./b",
	    "hidden: found \"/a/./b\", expected an absolute path without //, . and .."),
	ROW("hidden = /a//b",
	    "hidden: found \"/a//b\", expected an absolute path without //, . and .."),
	ROW("memory-max = 1T", "memory-max: found \"1T\", expected a size such as 64K, 1M, 2G"),
	ROW("memory-max = 1k", "memory-max: found \"1k\", expected a size such as 64K, 1M, 2G"),
	ROW("memory-max = 18446744073709551615G",
	    "memory-max: found \"18446744073709551615G\", expected a size such as 64K, 1M, 2G"),
	ROW("pids-max = 0", "pids-max: found \"0\", expected a number from 1 to 4194304"),
	ROW("scheduling = fast", "scheduling: found \"fast\", expected other, batch, idle, fifo "
				 "PRIORITY or rr PRIORITY"),
	ROW("scheduling = fifo", "scheduling: found \"fifo\", expected other, batch, idle, fifo "
				 "PRIORITY or rr PRIORITY"),
	ROW("scheduling = other 1",
	    "scheduling: found \"other\", expected other, batch, idle, fifo "
	    "PRIORITY or rr PRIORITY"),
	ROW("scheduling = fifo 1 perhaps", "scheduling: found \"perhaps\", expected optional"),
	ROW("scheduling = fifo 0", "scheduling: found \"0\", expected a number from 1 to 99"),
	ROW("scheduling = rr 100", "scheduling: found \"100\", expected a number from 1 to 99"),
	ROW("cpu-affinity = 1024", "cpu-affinity: found \"1024\", expected a processor from 0 to "
				   "1023, or a range such as 2-5"),
	ROW("cpu-affinity = 3-1", "cpu-affinity: found \"3-1\", expected a processor from 0 to "
				  "1023, or a range such as 2-5"),
	ROW("cpu-affinity = 0 1-", "cpu-affinity: found \"1-\", expected a processor from 0 to "
				   "1023, or a range such as 2-5"),
	ROW("cpu-affinity = -1", "cpu-affinity: found \"-1\", expected a processor from 0 to "
				 "1023, or a range such as 2-5"),
	ROW("cpu-affinity = 0,1", "cpu-affinity: found \"0,1\", expected a processor from 0 to "
				  "1023, or a range such as 2-5"),
	ROW("io-class = best-effort", "io-class: found \"best-effort\", expected realtime LEVEL, "
				      "best-effort LEVEL or idle"),
	ROW("io-class = idle 1", "io-class: found \"idle\", expected realtime LEVEL, best-effort "
				 "LEVEL or idle"),
	ROW("io-class = realtime 8", "io-class: found \"8\", expected a number from 0 to 7"),
	ROW("memory-high = 1T", "memory-high: found \"1T\", expected a size such as 64K, 1M, 2G"),
	ROW("memory-high = 8M\nmemory-max = 8M", "memory-high: found no less than memory-max"),
	ROW("cpu-weight = 0", "cpu-weight: found \"0\", expected a number from 1 to 10000"),
	ROW("io-weight = 10001", "io-weight: found \"10001\", expected a number from 1 to 10000"),
	ROW("cpu-max = 50", "cpu-max: found \"50\", expected 50% of one processor, or QUOTA PERIOD "
			    "such as 20ms 100ms"),
	ROW("cpu-max = %", "cpu-max: found \"%\", expected 50% of one processor, or QUOTA PERIOD "
			   "such as 20ms 100ms"),
	ROW("cpu-max = 0%", "cpu-max: found \"0%\", expected 50% of one processor, or QUOTA PERIOD "
			    "such as 20ms 100ms"),
	ROW("cpu-max = 50%%", "cpu-max: found \"50%%\", expected 50% of one processor, or QUOTA "
			      "PERIOD such as 20ms 100ms"),
	ROW("cpu-max = 100001%", "cpu-max: found \"100001%\", expected 50% of one processor, or "
				 "QUOTA PERIOD such as 20ms 100ms"),
	ROW("cpu-max = 99999999999999999999999999%",
	    "cpu-max: found \"99999999999999999999999999%\", expected 50% of one processor, or "
	    "QUOTA PERIOD such as 20ms 100ms"),
	ROW("cpu-max = 10ms none", "cpu-max: found \"none\", expected a period from 1ms to 1s"),
	ROW("cpu-max = 10ms 2s", "cpu-max: found \"2s\", expected a period from 1ms to 1s"),
	ROW("cpu-max = none 1s", "cpu-max: found \"none\", expected a duration such as 20ms"),
	ROW("cpu-max = 2h 1s", "cpu-max: found \"2h\", expected a quota of at most 1h"),
	ROW("instances = 65", "instances: found \"65\", expected a number from 1 to 64"),
	ROW("stop = /bin/t", "stop: found in a daemon, which is stopped by stop-signal"),
	ROW("description = a\rb",
	    "found a carriage return, expected lines that end with newline alone"),
	ROW("description = a\x01", "found a control character, expected text"),
	ROW("description = \xff", "found bytes that are not UTF-8, expected UTF-8"),
	ROW("description = \xc0\xaf", "found bytes that are not UTF-8, expected UTF-8"),
	ROW("description = \xed\xa0\x80", "found bytes that are not UTF-8, expected UTF-8"),
};

static void a_wrong_line_is_refused(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = s\n");
	config_file("services/once.service",
		    "kind = oneshot\nstart = @once up\nstop = @once down\n");
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text), "start = /bin/s\n%s\n", refused[i].text);
		config_file("services/s.service", text);
		config_refused(refused[i].row, config_try("t", NULL), refused[i].finding);
	}
}

static const struct refused refused_whole[] = {
	{__LINE__, "description = x\n", "services/s.service: found no key \"start\", expected one"},
	{__LINE__, "kind = group\nstart = /bin/x\n",
	 "services/s.service:2: start: found in a group, which runs nothing"},
	{__LINE__, "kind = oneshot\nstart = /bin/x\nrestart = always\n",
	 "services/s.service:3: restart: found always in a oneshot, expected on-failure or never"},
	{__LINE__, "kind = oneshot\nstart = /bin/x\nready = notify\n",
	 "services/s.service:3: ready: found in a oneshot, which is ready when its start command "
	 "has ended well"},
	{__LINE__, "kind = oneshot\nstart = /bin/x\nreload = /bin/y\n",
	 "services/s.service:3: reload: found in a oneshot, expected it in a daemon only"},
	{__LINE__, "kind = oneshot\nstart = /bin/x\ninstances = 2\n",
	 "services/s.service:3: instances: found in a oneshot, expected it in a daemon only"},
	{__LINE__, "start = /bin/x\nuser = anna\ncapabilities = all\n",
	 "services/s.service:3: capabilities: found all together with a user, expected it for root "
	 "only"},
	{__LINE__, "start = /bin/x\nlisten = tcp 0.0.0.0:80\nlisten = tcp 0.0.0.0:80\n",
	 "services/s.service:3: listen: found the same socket twice, expected it once"},
	{__LINE__, "start = /bin/x\nlimit-core = 0\nlimit-core = 1\n",
	 "services/s.service:3: limit-core: found a second time, expected once"},
	{__LINE__, "start = /bin/x\nenvironment = A=1\nenvironment = A=2\n",
	 "services/s.service:3: environment: found A a second time, expected once"},
};

static void a_senseless_file_is_refused(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = s\n");
	for (size_t i = 0; i < sizeof(refused_whole) / sizeof(refused_whole[0]); i++) {
		config_file("services/s.service", refused_whole[i].text);
		config_refused(refused_whole[i].row, config_try("t", NULL),
			       refused_whole[i].finding);
	}
}

static void lines_and_files_are_bounded(void **state)
{
	(void)state;
	static char text[300 * 1024];
	config_file("profiles/t.profile", "services = s\n");
	size_t used = (size_t)snprintf(text, sizeof(text), "start = /bin/x\ndescription = ");
	memset(text + used, 'a', 4096);
	strcpy(text + used + 4096, "\n");
	config_file("services/s.service", text);
	config_refused(__LINE__, config_try("t", NULL),
		       "services/s.service:2: found a line of 4110 bytes, expected at most 4096");

	memset(text, '\n', sizeof(text) - 1);
	config_file("services/s.service", text);
	config_refused(__LINE__, config_try("t", NULL),
		       "services/s.service: found 307199 bytes, expected at most 262144");
}

static void every_mistake_is_shown(void **state)
{
	(void)state;
	config_file("profiles/t.profile", "services = s r\n");
	config_file("services/s.service", "start = x\nnice = 99\nrequires = zzzzzzz\n");
	config_file("services/r.service", "start = /bin/x\nstart = /bin/y\n");
	assert_null(config_try("t", NULL));
	assert_int_equal(config_report.count, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_with_every_key),
		cmocka_unit_test(a_file_that_says_nothing_but_the_program),
		cmocka_unit_test(process_time_in_words),
		cmocka_unit_test(user_and_group_in_any_order),
		cmocka_unit_test(a_wrong_line_is_refused),
		cmocka_unit_test(a_senseless_file_is_refused),
		cmocka_unit_test(lines_and_files_are_bounded),
		cmocka_unit_test(every_mistake_is_shown),
	};
	return cmocka_run_group_tests_name("service files", tests, config_files_begin,
					   config_files_end);
}
