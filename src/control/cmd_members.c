/* supervisor members [--stats] [--json]; supervisor members --watch [--json] [--exec PROGRAM] */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/json.h"
#include "src/base/log.h"
#include "src/config/cluster.h"
#include "src/control/client.h"
#include "src/control/commands.h"
#include "src/gossip/message.h"

#define USAGE "members [--stats | --watch [--exec PROGRAM]] [--json]"

struct printer {
	bool json, first;
	bool stats, watch;
	const char *program; /* --exec */
	bool stale;
	uint64_t stale_ms;
	/* --watch: of each member, the first event that its printed state does not contain. */
	struct {
		char name[NAME_BYTES];
		uint64_t number;
	} seen[CLUSTER_NODES_MAX];
};

static const char *shown_state(const struct control_member *m)
{
	return m->revoked ? "revoked" : m->conflict[0] ? m->conflict : m->state;
}

static const char *shown_rtt(uint32_t us, char text[24])
{
	if (us)
		snprintf(text, 24, "%u.%02ums", us / 1000, us % 1000 / 10);
	else
		snprintf(text, 24, "-");
	return text;
}

/* ---- tables ---- */

static void print_member(const struct control_member *m)
{
	char since[16], rtt[24], services[24] = "-";
	const char *state = shown_state(m);

	if (m->services)
		snprintf(services, sizeof(services), "%u/%u", m->services_ready, m->services);
	printf("%-16s %-8s %-16s %s%-9s%s %-6s %8s %9s %8s%s%s%s\n", m->name, m->role, m->address,
	       client_colour(state), state, client_colour_end(), m->ready ? "ready" : "-",
	       client_duration(m->since_ms, since, sizeof(since)), services,
	       shown_rtt(m->rtt_us, rtt), m->self ? "  (this node)" : "", m->tags[0] ? "  " : "",
	       m->tags);
	if (m->alarm[0])
		printf("    ALARM: %s\n", m->alarm);
}

static void print_gossip(const struct control_gossip *g)
{
	char since[16];

	printf("gossip: %s for %s; local health %u (0 best), %llu periods, %llu of them late; "
	       "memory %slocked, %s\n",
	       g->running ? "running" : "stopped",
	       client_duration(g->since_ms, since, sizeof(since)), g->health,
	       (unsigned long long)g->ticks, (unsigned long long)g->late_ticks,
	       g->locked ? "" : "not ", g->realtime ? "real-time" : "not real-time");
	printf("in:  %llu packets, %llu bytes\nout: %llu packets, %llu bytes\n",
	       (unsigned long long)g->packets_in, (unsigned long long)g->bytes_in,
	       (unsigned long long)g->packets_out, (unsigned long long)g->bytes_out);
	printf("suspected %llu times, objected %llu times; %llu changes\ndropped:",
	       (unsigned long long)g->suspicions, (unsigned long long)g->objections,
	       (unsigned long long)g->changes);
	for (unsigned i = 0; i < CONTROL_DROPS; i++)
		printf(" %s %llu", gossip_drop_name(i), (unsigned long long)g->dropped[i]);
	printf("\n\n%-16s %-9s %9s %9s %9s %7s %10s %10s %8s %8s\n", "NAME", "STATE", "RTT",
	       "LEAST", "LAST", "LOSS", "SENT", "RECEIVED", "MISSED", "VERSION");
}

static void print_peer(const struct control_member *m)
{
	char rtt[24], least[24], last[24];

	printf("%-16s %-9s %9s %9s %9s %4u.%u%% %10llu %10llu %8llu %8u%s\n", m->name,
	       shown_state(m), shown_rtt(m->rtt_us, rtt), shown_rtt(m->rtt_min_us, least),
	       shown_rtt(m->rtt_last_us, last), m->loss_permille / 10, m->loss_permille % 10,
	       (unsigned long long)m->sent, (unsigned long long)m->received,
	       (unsigned long long)m->missed, m->version, m->self ? "  (this node)" : "");
}

/* ---- JSON ---- */

static void json_member_fields(bool *first, const struct control_member *m)
{
	char boot[20];

	snprintf(boot, sizeof(boot), "%016llx", (unsigned long long)m->boot_id);
	json_string(first, "name", m->name);
	json_string(first, "role", m->role);
	json_string(first, "address", m->address);
	json_string(first, "state", m->state);
	json_bool(first, "ready", m->ready);
	json_bool(first, "self", m->self);
	json_bool(first, "revoked", m->revoked);
	json_string(first, "conflict", m->conflict);
	json_number(first, "services", m->services);
	json_number(first, "services_ready", m->services_ready);
	json_number(first, "services_failed", m->services_failed);
	json_number(first, "generation", m->generation);
	json_number(first, "incarnation", m->incarnation);
	json_string(first, "boot", m->boot_id ? boot : "");
	json_string(first, "tags", m->tags);
}

static void json_member(struct printer *p, const struct control_member *m)
{
	json_open(&p->first, NULL, '{');
	json_member_fields(&p->first, m);
	json_string(&p->first, "alarm", m->alarm);
	json_bool(&p->first, "stale", m->stale);
	json_number(&p->first, "since_ms", (int64_t)m->since_ms);
	json_number(&p->first, "rtt_us", m->rtt_us);
	if (p->stats) {
		json_number(&p->first, "rtt_min_us", m->rtt_min_us);
		json_number(&p->first, "rtt_last_us", m->rtt_last_us);
		json_number(&p->first, "loss_permille", m->loss_permille);
		json_number(&p->first, "sent", (int64_t)m->sent);
		json_number(&p->first, "received", (int64_t)m->received);
		json_number(&p->first, "missed", (int64_t)m->missed);
		json_number(&p->first, "version", m->version);
		json_bool(&p->first, "session", m->session);
	}
	json_close(&p->first, '}');
}

static void json_gossip(struct printer *p, const struct control_gossip *g)
{
	json_open(&p->first, NULL, '{');
	json_bool(&p->first, "running", g->running);
	json_number(&p->first, "since_ms", (int64_t)g->since_ms);
	json_number(&p->first, "health", g->health);
	json_bool(&p->first, "locked", g->locked);
	json_bool(&p->first, "realtime", g->realtime);
	json_number(&p->first, "ticks", (int64_t)g->ticks);
	json_number(&p->first, "late_ticks", (int64_t)g->late_ticks);
	json_number(&p->first, "packets_in", (int64_t)g->packets_in);
	json_number(&p->first, "packets_out", (int64_t)g->packets_out);
	json_number(&p->first, "bytes_in", (int64_t)g->bytes_in);
	json_number(&p->first, "bytes_out", (int64_t)g->bytes_out);
	json_number(&p->first, "changes", (int64_t)g->changes);
	json_number(&p->first, "suspicions", (int64_t)g->suspicions);
	json_number(&p->first, "objections", (int64_t)g->objections);
	json_open(&p->first, "dropped", '{');
	for (unsigned i = 0; i < CONTROL_DROPS; i++)
		json_number(&p->first, gossip_drop_name(i), (int64_t)g->dropped[i]);
	json_close(&p->first, '}');
	json_open(&p->first, "members", '[');
}

/* ---- events ---- */

/* RFC 3339, UTC, milliseconds. */
static void stamp(uint64_t age_ms, char text[40])
{
	struct timespec now;
	struct tm tm;
	char day[32];

	clock_gettime(CLOCK_REALTIME, &now);
	int64_t ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - (int64_t)age_ms;
	time_t seconds = (time_t)(ms / 1000);
	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, 40, "%s.%03dZ", day, (int)(ms % 1000));
}

/* A member's first record says how it is, and contains every event before its number. */
static bool is_news(struct printer *p, const struct control_event *e)
{
	size_t i = 0;

	if (e->member.name[0] == '\0')
		return true;
	while (i < CLUSTER_NODES_MAX && p->seen[i].name[0] &&
	       strcmp(p->seen[i].name, e->member.name) != 0)
		i++;
	if (i == CLUSTER_NODES_MAX)
		return true;
	snprintf(p->seen[i].name, sizeof(p->seen[i].name), "%s", e->member.name);
	if (strcmp(e->what, "now") != 0)
		return e->number >= p->seen[i].number;
	p->seen[i].number = e->number;
	return true;
}

static void run_program(const char *program, const struct control_event *e)
{
	const struct control_member *m = &e->member;
	const struct {
		const char *name, *text;
		uint64_t number;
	} list[] = {
		{"EVENT", e->what, 0},
		{"MISSED", NULL, e->missed},
		{"MEMBER", m->name, 0},
		{"ROLE", m->role, 0},
		{"ADDRESS", m->address, 0},
		{"STATE", m->state, 0},
		{"READY", m->ready ? "yes" : "no", 0},
		{"CONFLICT", m->conflict, 0},
		{"TAGS", m->tags, 0},
		{"SELF", m->self ? "yes" : "no", 0},
		{"GENERATION", NULL, m->generation},
		{"INCARNATION", NULL, m->incarnation},
		{"SERVICES", NULL, m->services},
		{"SERVICES_READY", NULL, m->services_ready},
		{"SERVICES_FAILED", NULL, m->services_failed},
	};
	char *argv[] = {(char *)program, NULL}, number[24];
	extern char **environ;
	pid_t pid;
	int status = 0;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		snprintf(number, sizeof(number), "%llu", (unsigned long long)list[i].number);
		setenv(list[i].name, list[i].text ? list[i].text : number, 1);
	}
	int error = posix_spawn(&pid, program, NULL, NULL, argv, environ);
	if (error) {
		errno = error;
		log_warn("run %s", program);
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		log_warnx("%s failed for %s %s: %s %d", program, m->name, e->what,
			  WIFSIGNALED(status) ? "signal" : "exit code",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void json_event(const struct control_event *e, const char *when)
{
	bool first = true;

	json_open(&first, NULL, '{');
	json_string(&first, "event", e->what);
	json_string(&first, "time", when);
	json_number(&first, "number", (int64_t)e->number);
	json_number(&first, "missed", (int64_t)e->missed);
	if (e->member.name[0])
		json_member_fields(&first, &e->member);
	json_close(&first, '}');
	putchar('\n');
}

static void print_event(const struct control_event *e, const char *when)
{
	const struct control_member *m = &e->member;

	if (e->missed)
		printf("%s missed %llu events\n", when, (unsigned long long)e->missed);
	if (m->name[0])
		printf("%s %-8s %-16s %s%s%s %u/%u services, life %u, statement %u%s%s%s%s\n", when,
		       e->what, m->name, shown_state(m), m->ready ? " ready" : "",
		       m->self ? " (this node)" : "", m->services_ready, m->services, m->generation,
		       m->incarnation, m->tags[0] ? ", " : "", m->tags,
		       m->alarm[0] ? ", ALARM: " : "", m->alarm);
}

static void on_event(struct printer *p, const struct control_event *e)
{
	char when[40];

	if (!is_news(p, e))
		return;
	stamp(e->age_ms, when);
	if (p->program) {
		run_program(p->program, e);
		return;
	}
	if (p->json)
		json_event(e, when);
	else
		print_event(e, when);
	if (fflush(stdout) != 0)
		fatal("write to stdout"); /* whoever read it is gone */
}

/* ---- all ---- */

static void on_gossip(struct printer *p, const struct control_gossip *g)
{
	p->stale = !g->running;
	p->stale_ms = g->since_ms;
	if (!p->stats)
		return;
	if (p->json)
		json_gossip(p, g);
	else
		print_gossip(g);
}

static void on_member(struct printer *p, const struct control_member *m)
{
	if (p->json) {
		json_member(p, m);
		return;
	}
	if (p->stats) {
		print_peer(m);
		return;
	}
	if (p->first)
		printf("%-16s %-8s %-16s %-9s %-6s %8s %9s %8s\n", "NAME", "ROLE", "ADDRESS",
		       "STATE", "READY", "SINCE", "SERVICES", "RTT");
	p->first = false;
	print_member(m);
}

static void each(void *owner, const struct control_record *record)
{
	struct printer *p = owner;

	if (record->type == CONTROL_GOSSIP_RECORD)
		on_gossip(p, &record->gossip);
	else if (record->type == CONTROL_MEMBER_RECORD)
		on_member(p, &record->member);
	else if (record->type == CONTROL_EVENT_RECORD)
		on_event(p, &record->event);
}

/* Takes our own options out of argv; the new count, or -1 after a line of usage. */
static int take_options(int argc, char **argv, struct printer *p)
{
	int kept = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--stats") == 0)
			p->stats = true;
		else if (strcmp(argv[i], "--watch") == 0)
			p->watch = true;
		else if (strncmp(argv[i], "--exec=", 7) == 0)
			p->program = argv[i] + 7;
		else if (strcmp(argv[i], "--exec") == 0 && i + 1 < argc)
			p->program = argv[++i];
		else
			argv[kept++] = argv[i];
	}
	if ((p->stats && p->watch) || (p->program && !p->watch)) {
		fprintf(stderr, "usage: supervisor " USAGE "\n");
		return -1;
	}
	argv[kept] = NULL;
	return kept;
}

static int list(const struct client_options *options, struct printer *p)
{
	struct control_request request = {.verb = CONTROL_MEMBERS};
	char since[16];
	bool all = p->json && !p->stats;

	if (all)
		json_open(&p->first, NULL, '[');
	int code = client_call(options, &request, each, p, NULL, 0);
	if (all) {
		json_close(&p->first, ']');
	} else if (p->json && code == 0) {
		json_close(&p->first, ']');
		json_close(&p->first, '}');
	}
	if (p->json)
		putchar('\n');
	if (p->stale)
		log_warnx("the gossip process does not run: this is as it was %s ago",
			  client_duration(p->stale_ms, since, sizeof(since)));
	return code;
}

int cmd_members(int argc, char **argv)
{
	struct client_options options;
	struct control_request request = {.verb = CONTROL_WATCH};
	static struct printer printer;

	printer.first = true;
	argc = take_options(argc, argv, &printer);
	if (argc < 0 || client_options(argc, argv, "j", 0, 0, USAGE, &options) < 0)
		return EXIT_USAGE;
	printer.json = options.json;
	if (printer.program && access(printer.program, X_OK) != 0) {
		log_warn("--exec %s", printer.program);
		return EXIT_NO;
	}
	if (printer.watch)
		return client_call(&options, &request, each, &printer, NULL, 0);
	return list(&options, &printer);
}
