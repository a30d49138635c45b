/* supervisor start|stop|restart NAME, kill NAME [SIGNAL], poweroff, reboot, halt */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/log.h"
#include "src/control/client.h"
#include "src/control/commands.h"

static int set_name(struct control_request *request, const char *name)
{
	if (strlen(name) < sizeof(request->name)) {
		snprintf(request->name, sizeof(request->name), "%s", name);
		return 0;
	}
	log_warnx("no service called \"%s\"", name);
	return -1;
}

static int operate(int argc, char **argv, enum control_verb verb, const char *allowed,
		   const char *usage)
{
	struct client_options options;
	struct control_request request = {.verb = (uint16_t)verb};
	char said[CONTROL_TEXT_BYTES];

	if (client_options(argc, argv, allowed, 1, 1, usage, &options) < 0)
		return EXIT_USAGE;
	if (set_name(&request, options.argument[0]) < 0)
		return EXIT_NO;
	if (options.force)
		request.flags |= CONTROL_FORCE;
	if (options.no_wait)
		request.flags |= CONTROL_NO_WAIT;
	int code = client_call(&options, &request, NULL, NULL, said, sizeof(said));
	if (code == EXIT_FINE && said[0])
		puts(said);
	return code;
}

int cmd_start(int argc, char **argv)
{
	return operate(argc, argv, CONTROL_START, "fw", "start NAME [--force] [--no-wait]");
}

int cmd_stop(int argc, char **argv)
{
	return operate(argc, argv, CONTROL_STOP, "fw", "stop NAME [--force] [--no-wait]");
}

int cmd_restart(int argc, char **argv)
{
	return operate(argc, argv, CONTROL_RESTART, "fw", "restart NAME [--force] [--no-wait]");
}

/* "TERM", "SIGTERM" or "15"; 0: none of these. */
static int signal_number(const char *text)
{
	static const struct {
		const char *name;
		int number;
	} known[] = {
		{"HUP", SIGHUP},     {"INT", SIGINT},	{"QUIT", SIGQUIT}, {"ABRT", SIGABRT},
		{"KILL", SIGKILL},   {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"TERM", SIGTERM},
		{"STOP", SIGSTOP},   {"CONT", SIGCONT}, {"ALRM", SIGALRM}, {"PWR", SIGPWR},
		{"WINCH", SIGWINCH},
	};
	char *rest;
	long number = strtol(text, &rest, 10);

	if (*text && !*rest && number > 0 && number < NSIG)
		return (int)number;
	if (strncmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(text, known[i].name) == 0)
			return known[i].number;
	return 0;
}

int cmd_kill(int argc, char **argv)
{
	struct client_options options;
	struct control_request request = {.verb = CONTROL_KILL, .number = SIGTERM};

	if (client_options(argc, argv, "", 1, 2, "kill NAME [SIGNAL]", &options) < 0)
		return EXIT_USAGE;
	if (options.arguments == 2)
		request.number = signal_number(options.argument[1]);
	if (request.number == 0) {
		log_warnx("unknown signal %s; expected a name like TERM or KILL, or a number",
			  options.argument[1]);
		return EXIT_USAGE;
	}
	if (set_name(&request, options.argument[0]) < 0)
		return EXIT_NO;
	return client_call(&options, &request, NULL, NULL, NULL, 0);
}

static int shut_down(int argc, char **argv, enum control_shutdown how)
{
	struct client_options options;
	struct control_request request = {.verb = CONTROL_SHUTDOWN, .number = how};
	bool reboot = how == CONTROL_REBOOT;

	if (client_options(argc, argv, reboot ? "k" : "", 0, 0,
			   reboot ? "reboot [--kexec]" : argv[0], &options) < 0)
		return EXIT_USAGE;
	if (options.kexec)
		request.number = CONTROL_KEXEC;
	return client_call(&options, &request, NULL, NULL, NULL, 0);
}

int cmd_poweroff(int argc, char **argv)
{
	return shut_down(argc, argv, CONTROL_POWEROFF);
}

int cmd_reboot(int argc, char **argv)
{
	return shut_down(argc, argv, CONTROL_REBOOT);
}

int cmd_halt(int argc, char **argv)
{
	return shut_down(argc, argv, CONTROL_HALT);
}
