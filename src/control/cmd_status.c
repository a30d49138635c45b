/* supervisor status [NAME] [--json] */
#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/log.h"
#include "src/control/client.h"
#include "src/control/commands.h"

struct printer {
	bool json, first;
	bool services; /* the list was opened */
};

static void print_node(const struct control_node *node)
{
	char up[16], boot[16];

	printf("%s%s  profile %s  up %s", node->name[0] ? node->name : "(lone node)",
	       node->stopping ? " (stopping)" : "", node->profile,
	       client_duration(node->up_ms, up, sizeof(up)));
	if (node->boot_ms)
		printf(", ready after %s", client_duration(node->boot_ms, boot, sizeof(boot)));
	printf("  %u of %u services ready\n", node->services_ready, node->services);
	if (node->alarm[0])
		printf("ALARM: %s\n", node->alarm);
	printf("\n%-24s %-10s %7s %8s %6s\n", "SERVICE", "STATE", "PID", "SINCE", "STARTS");
}

static void print_service(const struct control_service *s)
{
	char since[16], pid[16] = "-";

	if (s->pid)
		snprintf(pid, sizeof(pid), "%d", s->pid);
	printf("%-24s %s%-10s%s %7s %8s %6u%s%s\n", s->name, client_colour(s->state), s->state,
	       client_colour_end(), pid, client_duration(s->since_ms, since, sizeof(since)),
	       s->starts, s->why[0] ? "  " : "", s->why);
}

static void json_node(struct printer *p, const struct control_node *node)
{
	json_open(&p->first, NULL, '{');
	json_string(&p->first, "node", node->name);
	json_string(&p->first, "profile", node->profile);
	json_bool(&p->first, "ready", node->ready);
	json_bool(&p->first, "stopping", node->stopping);
	json_number(&p->first, "up_ms", (int64_t)node->up_ms);
	json_number(&p->first, "boot_ms", (int64_t)node->boot_ms);
	json_number(&p->first, "services_ready", node->services_ready);
	json_number(&p->first, "services_failed", node->services_failed);
	json_string(&p->first, "alarm", node->alarm);
	json_open(&p->first, "services", '[');
}

static void json_service(struct printer *p, const struct control_service *s)
{
	static const char *const health[CONTROL_HEALTHS] = {
		[CONTROL_UNWATCHED] = "unwatched",
		[CONTROL_UNKNOWN] = "unknown",
		[CONTROL_WELL] = "well",
		[CONTROL_ILL] = "ill",
	};

	json_open(&p->first, NULL, '{');
	json_string(&p->first, "name", s->name);
	json_string(&p->first, "state", s->state);
	json_bool(&p->first, "wanted", s->wanted);
	json_number(&p->first, "pid", s->pid);
	json_number(&p->first, "since_ms", (int64_t)s->since_ms);
	json_number(&p->first, "starts", s->starts);
	json_number(&p->first, "failures", s->failures);
	json_string(&p->first, "why", s->why);
	json_string(&p->first, "health", s->health < CONTROL_HEALTHS ? health[s->health] : "?");
	json_number(&p->first, "check_failures", s->check_failures);
	json_string(&p->first, "check", s->check);
	json_close(&p->first, '}');
}

static void each(void *owner, const struct control_record *record)
{
	struct printer *p = owner;

	if (record->type == CONTROL_NODE_RECORD) {
		if (p->json)
			json_node(p, &record->node);
		else
			print_node(&record->node);
		p->services = true;
	} else if (record->type == CONTROL_SERVICE_RECORD) {
		if (p->json)
			json_service(p, &record->service);
		else
			print_service(&record->service);
	}
}

int cmd_status(int argc, char **argv)
{
	struct client_options options;
	struct control_request request = {.verb = CONTROL_STATUS};
	struct printer printer = {.first = true};

	if (client_options(argc, argv, "j", 0, 1, "status [NAME] [--json]", &options) < 0)
		return EXIT_USAGE;
	if (options.arguments && strlen(options.argument[0]) >= sizeof(request.name)) {
		log_warnx("no service called \"%s\"", options.argument[0]);
		return EXIT_NO;
	}
	if (options.arguments)
		snprintf(request.name, sizeof(request.name), "%s", options.argument[0]);
	printer.json = options.json;
	int code = client_call(&options, &request, each, &printer, NULL, 0);
	if (options.json && printer.services) {
		json_close(&printer.first, ']');
		json_close(&printer.first, '}');
		putchar('\n');
	}
	return code;
}
