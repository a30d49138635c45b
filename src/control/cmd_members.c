/* supervisor members [--json] */
#include <stdio.h>

#include "src/base/json.h"
#include "src/control/client.h"
#include "src/control/commands.h"

struct printer {
	bool json, first;
};

static void print_member(const struct control_member *m)
{
	char since[16], rtt[24] = "-", services[24] = "-";

	if (m->rtt_us)
		snprintf(rtt, sizeof(rtt), "%u.%ums", m->rtt_us / 1000, m->rtt_us % 1000 / 100);
	if (m->services)
		snprintf(services, sizeof(services), "%u/%u", m->services_ready, m->services);
	printf("%-16s %-8s %-16s %s%-8s%s %-6s %8s %9s %8s%s\n", m->name, m->role, m->address,
	       client_colour(m->state), m->state, client_colour_end(), m->ready ? "ready" : "-",
	       client_duration(m->since_ms, since, sizeof(since)), services, rtt,
	       m->self ? "  (this node)" : "");
}

static void json_member(struct printer *p, const struct control_member *m)
{
	json_open(&p->first, NULL, '{');
	json_string(&p->first, "name", m->name);
	json_string(&p->first, "role", m->role);
	json_string(&p->first, "address", m->address);
	json_string(&p->first, "state", m->state);
	json_bool(&p->first, "ready", m->ready);
	json_bool(&p->first, "self", m->self);
	json_number(&p->first, "services", m->services);
	json_number(&p->first, "services_ready", m->services_ready);
	json_number(&p->first, "services_failed", m->services_failed);
	json_number(&p->first, "since_ms", (int64_t)m->since_ms);
	json_number(&p->first, "rtt_us", m->rtt_us);
	json_number(&p->first, "generation", m->generation);
	json_number(&p->first, "incarnation", m->incarnation);
	json_close(&p->first, '}');
}

static void each(void *owner, const struct control_record *record)
{
	struct printer *p = owner;

	if (record->type != CONTROL_MEMBER_RECORD)
		return;
	if (p->json) {
		json_member(p, &record->member);
		return;
	}
	if (p->first)
		printf("%-16s %-8s %-16s %-8s %-6s %8s %9s %8s\n", "NAME", "ROLE", "ADDRESS",
		       "STATE", "READY", "SINCE", "SERVICES", "RTT");
	p->first = false;
	print_member(&record->member);
}

int cmd_members(int argc, char **argv)
{
	struct client_options options;
	struct control_request request = {.verb = CONTROL_MEMBERS};
	struct printer printer = {.first = true};

	if (client_options(argc, argv, "j", 0, 0, "members [--json]", &options) < 0)
		return EXIT_USAGE;
	printer.json = options.json;
	if (options.json)
		json_open(&printer.first, NULL, '[');
	int code = client_call(&options, &request, each, &printer, NULL, 0);
	if (options.json) {
		json_close(&printer.first, ']');
		putchar('\n');
	}
	return code;
}
