/* Reads one service: its defaults, its file, and whether it all makes sense together. */
#include "src/config/service_keys.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static bool name_part(const char *text, size_t length, const char *more)
{
	for (size_t i = 0; i < length; i++) {
		char c = text[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		if (!plain && (i == 0 || !strchr(more, c)))
			return false;
	}
	return length > 0;
}

bool service_name_good(const char *name)
{
	const char *at = strchr(name, '@');
	size_t base = at ? (size_t)(at - name) : strlen(name);
	return strlen(name) < SERVICE_NAME_BYTES && name_part(name, base, "_-.") &&
	       (!at || name_part(at + 1, strlen(at + 1), "_-.ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
}

/* What a file does not say. docs/SERVICES.md gives the reasons. */
static void set_defaults(struct service_def *def)
{
	def->kind = SERVICE_DAEMON;
	def->description = "";
	def->instance = "";
	def->directory = "/";
	def->pool = -1;
	def->start_timeout_ms = 30 * 1000;
	def->stop_timeout_ms = 10 * 1000;
	def->stop_signal = SIGTERM;
	def->restart_delay_ms = 100;
	def->restart_delay_max_ms = 30 * 1000;
	def->healthy_after_ms = 10 * 1000;
	def->check_interval_ms = 10 * 1000;
	def->check_timeout_ms = 5 * 1000;
	def->check_retries = 3;
	def->umask = 022;
	def->no_new_privileges = true;
}

static void wrong(const struct service_reader *reader, const char *key, const char *text)
{
	config_report_add(reader->loader->report, reader->file->shown,
			  service_key_line(reader, key), "%s: %s", key, text);
}

static bool given(const struct service_reader *reader, const char *key)
{
	return service_key_line(reader, key) > 0;
}

/* A group runs nothing: only what says what it is and what it stands for has a meaning. */
static void check_group(const struct service_reader *reader)
{
	static const char *const run[] = {"start",	   "stop",	"reload",   "reload-signal",
					  "ready",	   "restart",	"listen",   "listen-from",
					  "channel",	   "template",	"user",	    "capabilities",
					  "seccomp",	   "instances", "check",    "watchdog",
					  "restart-limit", "on-limit",	"on-demand"};
	for (size_t i = 0; i < sizeof(run) / sizeof(run[0]); i++) {
		if (given(reader, run[i]))
			wrong(reader, run[i], "found in a group, which runs nothing");
	}
}

static bool in_private_tmp(const struct service_def *def)
{
	return def->private_tmp && strncmp(def->ready_path, "/tmp/", 5) == 0;
}

static void check_commands(const struct service_reader *reader)
{
	const struct service_def *def = &reader->draft->def;
	bool daemon = def->kind == SERVICE_DAEMON;
	if (!given(reader, "start"))
		config_report_add(reader->loader->report, reader->file->shown, 0,
				  "found no key \"start\", expected one");
	if (daemon && given(reader, "stop"))
		wrong(reader, "stop", "found in a daemon, which is stopped by stop-signal");
	static const char *const daemons[] = {"reload",	  "reload-signal", "instances", "check",
					      "watchdog", "on-demand",	   "idle-stop"};
	for (size_t i = 0; !daemon && i < sizeof(daemons) / sizeof(daemons[0]); i++) {
		if (given(reader, daemons[i]))
			wrong(reader, daemons[i],
			      "found in a oneshot, expected it in a daemon only");
	}
	if (daemon && def->ready == READY_EXIT && given(reader, "ready"))
		wrong(reader, "ready",
		      "found exit in a daemon, expected another way to become ready");
	if (daemon && (def->ready == READY_NOTIFY || def->watchdog_ms) && def->root)
		wrong(reader, def->watchdog_ms ? "watchdog" : "ready",
		      "found together with root: in a root of its own the service cannot reach "
		      "$NOTIFY_SOCKET");
	if (daemon && def->ready == READY_PID_FILE && (def->root || in_private_tmp(def)))
		wrong(reader, "ready",
		      "found a pid file where only the service itself can see it (root, "
		      "private-tmp)");
	if (!daemon && def->ready != READY_EXIT)
		wrong(reader, "ready",
		      "found in a oneshot, which is ready when its start command has ended well");
	if (!daemon && def->restart == RESTART_ALWAYS)
		wrong(reader, "restart", "found always in a oneshot, expected on-failure or never");
	if (!daemon && given(reader, "success-exit") && def->success_exit_count == 0)
		wrong(reader, "success-exit", "found nothing");
}

/* A question that our worker asks from the node's network. */
static bool over_network(const char *text)
{
	static const char *const kinds[] = {"tcp ", "http ", "fcgi "};
	for (size_t i = 0; text && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strncmp(text, kinds[i], strlen(kinds[i])) == 0)
			return true;
	}
	return false;
}

/* Keys that mean something only together with another one. */
static void check_pairs(const struct service_reader *reader)
{
	static const struct {
		const char *key, *needs;
	} pairs[] = {{"on-limit", "restart-limit"},   {"check-interval", "check"},
		     {"check-timeout", "check"},      {"check-retries", "check"},
		     {"check-start-period", "check"}, {"on-demand", "listen"},
		     {"idle-stop", "on-demand"}};
	const struct service_def *def = &reader->draft->def;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (!given(reader, pairs[i].key) || given(reader, pairs[i].needs))
			continue;
		config_report_add(reader->loader->report, reader->file->shown,
				  service_key_line(reader, pairs[i].key),
				  "%s: found without %s, expected both", pairs[i].key,
				  pairs[i].needs);
	}
	if (given(reader, "reload") && given(reader, "reload-signal"))
		wrong(reader, "reload-signal", "found together with reload, expected one of them");
	if (def->limit_restarts && def->restart == RESTART_NEVER)
		wrong(reader, "restart-limit", "found with restart = never");
	if (def->on_demand && def->listen_count > ON_DEMAND_SOCKETS_MAX)
		config_report_add(reader->loader->report, reader->file->shown,
				  service_key_line(reader, "on-demand"),
				  "on-demand: found %zu sockets, expected at most %d",
				  def->listen_count, ON_DEMAND_SOCKETS_MAX);
	if (def->ready == READY_FD &&
	    def->ready_fd < 3 + (def->channel ? 1 : 0) + (int)def->listen_count)
		wrong(reader, "ready", "found the number of a descriptor that is passed to it");
	if (def->private_network && over_network(def->ready_text))
		wrong(reader, "ready", "found with private-network, where nobody can ask it that");
	if (def->private_network && over_network(def->check_text))
		wrong(reader, "check", "found with private-network, where nobody can ask it that");
}

/* What other modules know better: the names of workers and of system calls. */
static void check_names(const struct service_reader *reader)
{
	const struct config_source *source = reader->loader->source;
	const struct service_def *def = &reader->draft->def;
	const struct {
		const char *key;
		const struct command *command;
	} commands[] = {{"start", &def->start},	  {"stop", &def->stop},
			{"reload", &def->reload}, {"ready", &def->ready_probe},
			{"check", &def->check},	  {"on-limit", &def->limit_command}};
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *command = commands[i].command;
		if (!command->builtin || !source->worker_known ||
		    source->worker_known(command->argv.word[0]))
			continue;
		config_report_add(
			reader->loader->report, reader->file->shown,
			service_key_line(reader, commands[i].key),
			"%s: found \"@%s\", expected the name of a built-in worker after @",
			commands[i].key, command->argv.word[0]);
	}
	char error[200] = "";
	if (def->seccomp.count > 0 && source->filter_good &&
	    !source->filter_good(&def->seccomp, error, sizeof(error)))
		wrong(reader, "seccomp", error);
}

/* An empty list of addresses (a cluster without a node of that role) must not turn into "anybody".
 */
static void check_listen(const struct service_reader *reader)
{
	const struct service_def *def = &reader->draft->def;
	for (size_t i = 0; i < def->listen_count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(def->listen[i].text, def->listen[j].text) == 0)
				wrong(reader, "listen",
				      "found the same socket twice, expected it once");
		}
		if (given(reader, "listen-from") && def->listen[i].address.ss_family != AF_INET)
			wrong(reader, "listen-from", "found with a socket that is not IPv4");
	}
	if (given(reader, "listen-from") && def->listen_count == 0)
		wrong(reader, "listen-from", "found without listen, expected both");
	if (given(reader, "listen-from") && def->listen_from_count == 0)
		wrong(reader, "listen-from", "found no address, expected one or more");
}

static void check_sandbox(const struct service_reader *reader)
{
	const struct service_def *def = &reader->draft->def;
	if (given(reader, "group") && !given(reader, "user"))
		wrong(reader, "group", "found without user, expected both");
	if (given(reader, "groups") && !given(reader, "user"))
		wrong(reader, "groups", "found without user, expected both");
	if (def->all_capabilities && def->has_user && def->uid != 0)
		wrong(reader, "capabilities",
		      "found all together with a user, expected it for root only");
	if (def->memory_max_bytes > 0 && def->share.memory_high_bytes >= def->memory_max_bytes)
		wrong(reader, "memory-high", "found no less than memory-max");
	if (def->restart_delay_ms > def->restart_delay_max_ms)
		wrong(reader, "restart-delay", "found more than restart-delay-max");
}

void service_read(struct loader *loader, struct source_file *file, const char *name,
		  const char *instance, struct service_draft *draft)
{
	size_t before = loader->report->seen;
	struct service_reader reader = {
		.loader = loader, .file = file, .scope = loader->scope, .draft = draft};
	struct service_def *def = &draft->def;
	struct lines lines;
	struct line line;

	*draft = (struct service_draft){0};
	set_defaults(def);
	snprintf(def->name, sizeof(def->name), "%s", name);
	if (instance)
		def->instance = instance;
	reader.scope.instance = instance;
	draft->failed = true;
	if (!source_file_load(loader, file))
		return;
	def->file = file->shown;

	if (!lines_init(&lines, loader->scratch, loader->report, file->shown, file->text,
			file->size))
		return;
	crypto_generichash_init(&reader.digest, NULL, 0, DIGEST_BYTES);
	crypto_generichash_init(&reader.live, NULL, 0, DIGEST_BYTES);
	while (lines_next(&lines, &line))
		service_key_set(&reader, &line);
	crypto_generichash_final(&reader.digest, def->digest, DIGEST_BYTES);
	crypto_generichash_final(&reader.live, def->live, DIGEST_BYTES);

	if (!given(&reader, "ready"))
		def->ready = def->kind == SERVICE_ONESHOT ? READY_EXIT : READY_NOW;
	if (!given(&reader, "restart"))
		def->restart = def->kind == SERVICE_DAEMON ? RESTART_ALWAYS : RESTART_ON_FAILURE;
	if (def->kind == SERVICE_GROUP) {
		check_group(&reader);
	} else {
		check_commands(&reader);
		check_pairs(&reader);
		check_listen(&reader);
		check_sandbox(&reader);
		check_names(&reader);
	}
	draft->failed = loader->report->seen != before;
}

size_t service_pool_size(struct loader *loader, struct source_file *file)
{
	struct config_report *unused = arena_alloc(loader->scratch, sizeof(*unused));
	struct lines lines;
	struct line line;
	int64_t count = 0;
	if (!unused || !source_file_load(loader, file))
		return 0;
	if (!lines_init(&lines, loader->scratch, unused, file->shown, file->text, file->size))
		return 0;
	while (lines_next(&lines, &line)) {
		if (line.kind == LINE_PAIR && strcmp(line.key, "instances") == 0)
			number_in(line.value, 1, POOL_MEMBERS_MAX, &count);
	}
	return (size_t)count;
}
