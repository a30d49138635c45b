/* supervisor reload [NAME]; supervisor scale POOL N|--default */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/log.h"
#include "src/config/config.h"
#include "src/control/client.h"
#include "src/control/commands.h"

struct printer {
	bool json, first;
	const char *open; /* JSON: the list that is open */
	uint32_t kept;
};

/* The lists of the answer in JSON: "changes", and then "findings". */
static void open_list(struct printer *p, const char *name)
{
	if (p->open == name)
		return;
	if (p->open)
		json_close(&p->first, ']');
	json_open(&p->first, name, '[');
	p->open = name;
}

static void print_change(const struct control_change *change)
{
	if (strcmp(change->what, "refused") == 0)
		fprintf(stderr, "%s\n", change->text);
	else if (strcmp(change->what, "kept") == 0)
		printf("kept %u\n", change->number);
	else if (strcmp(change->what, "later") == 0)
		printf("%s reads cluster.conf when it starts next\n", change->text);
	else
		printf("%s %s\n", change->what, change->text);
}

static void json_change(struct printer *p, const struct control_change *change)
{
	static const char findings[] = "findings";

	if (strcmp(change->what, "kept") == 0) {
		p->kept = change->number;
	} else if (strcmp(change->what, "refused") == 0) {
		open_list(p, findings);
		json_string(&p->first, NULL, change->text);
	} else {
		json_open(&p->first, NULL, '{');
		json_string(&p->first, "what", change->what);
		json_string(&p->first, "service", change->text);
		json_close(&p->first, '}');
	}
}

static void each(void *owner, const struct control_record *record)
{
	struct printer *p = owner;

	if (record->type != CONTROL_CHANGE_RECORD)
		return;
	if (p->json)
		json_change(p, &record->change);
	else
		print_change(&record->change);
}

static int call(const struct client_options *options, struct control_request *request)
{
	struct printer printer = {.json = options->json, .first = true};
	char said[CONTROL_TEXT_BYTES] = "";

	if (options->no_wait)
		request->flags |= CONTROL_NO_WAIT;
	if (options->json) {
		json_open(&printer.first, NULL, '{');
		open_list(&printer, "changes");
	}
	int code = client_call(options, request, each, &printer, said, sizeof(said));
	if (options->json) {
		json_close(&printer.first, ']');
		json_number(&printer.first, "kept", printer.kept);
		json_bool(&printer.first, "ok", code == EXIT_FINE);
		json_string(&printer.first, "text", said);
		json_close(&printer.first, '}');
		putchar('\n');
	} else if (code == EXIT_FINE && said[0]) {
		puts(said);
	}
	return code;
}

int cmd_reload(int argc, char **argv)
{
	struct client_options options;
	struct control_request request = {.verb = CONTROL_RELOAD};

	if (client_options(argc, argv, "jw", 0, 1, "reload [NAME] [--no-wait] [--json]", &options) <
	    0)
		return EXIT_USAGE;
	const char *name = options.arguments ? options.argument[0] : "";
	if (strlen(name) >= sizeof(request.name) || (options.arguments && !*name)) {
		log_warnx("no service called \"%s\"", name);
		return EXIT_NO;
	}
	snprintf(request.name, sizeof(request.name), "%s", name);
	return call(&options, &request);
}

int cmd_scale(int argc, char **argv)
{
	static const char usage[] = "scale POOL N|--default [--no-wait] [--json]";
	struct client_options options;
	struct control_request request = {.verb = CONTROL_SCALE};
	char *rest = NULL;

	if (client_options(argc, argv, "jwd", 1, 2, usage, &options) < 0)
		return EXIT_USAGE;
	long members = options.arguments == 2 ? strtol(options.argument[1], &rest, 10) : 0;
	if ((options.arguments == 2) == options.as_default ||
	    (rest && (*rest || members < 1 || members > POOL_MEMBERS_MAX))) {
		fprintf(stderr,
			"supervisor: expected a number of members from 1 to %d, or --default\n"
			"usage: supervisor %s\n",
			POOL_MEMBERS_MAX, usage);
		return EXIT_USAGE;
	}
	if (strlen(options.argument[0]) >= sizeof(request.name)) {
		log_warnx("no service called \"%s\"", options.argument[0]);
		return EXIT_NO;
	}
	request.number = (int32_t)members;
	snprintf(request.name, sizeof(request.name), "%s", options.argument[0]);
	return call(&options, &request);
}
