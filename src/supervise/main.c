#include "src/supervise/main.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/control/server.h"
#include "src/node/machine.h"
#include "src/node/power_button.h"
#include "src/supervise/supervise.h"
#include "src/worker/worker.h"

static struct supervisor supervisor; /* large, and there from the start: nothing to allocate later */

struct options {
	struct config_source source;
	const char *run_dir;
};

static bool take(const char *argument, const char *name, const char **value)
{
	size_t length = strlen(name);

	if (strncmp(argument, name, length) != 0 || argument[length] != '=')
		return false;
	*value = argument + length + 1;
	return true;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	*options = (struct options){
		.source = { .directory = "/etc/supervisor", .worker_known = worker_known },
		.run_dir = "/run/supervisor",
	};
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (take(a, "--profile", &options->source.profile) || take(a, "--node", &options->source.node) ||
		    take(a, "--config", &options->source.directory) || take(a, "--run", &options->run_dir))
			continue;
		/* The kernel hands its init whatever it did not know: no reason not to boot. */
		if (getpid() == 1) {
			log_warnx("argument %s ignored", a);
			continue;
		}
		log_warnx("unknown argument %s; expected --profile=, --node=, --config= or --run=", a);
		return -1;
	}
	if (!options->source.profile) {
		log_warnx("no profile given: --profile=NAME");
		return -1;
	}
	return 0;
}

static void print_findings(const struct config_report *report)
{
	size_t kept = report->count < CONFIG_FINDINGS_MAX ? report->count : CONFIG_FINDINGS_MAX;

	for (size_t i = 0; i < kept; i++)
		log_warnx("%s", report->finding[i]);
	if (report->count > kept)
		log_warnx("and %zu more", report->count - kept);
}

static void signal_ready(struct watch *watch, uint32_t events)
{
	struct supervisor *sv = watch->owner;
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGTERM:
	case SIGPWR:
		supervise_shutdown(sv, sv->machine ? GOAL_POWEROFF : GOAL_EXIT);
		break;
	case SIGINT: /* ctrl-alt-del of a machine, ctrl-C of a terminal */
		supervise_shutdown(sv, sv->machine ? GOAL_REBOOT : GOAL_EXIT);
		break;
	default: /* SIGCHLD: reaped after every turn */
		break;
	}
}

/* Blocked before anything else is done: from here on no signal interrupts or kills, all arrive through a descriptor. */
static int watch_signals(struct supervisor *sv)
{
	sigset_t set;

	sigfillset(&set);
	/* Faults of our own are not requests. */
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGFPE);
	sigdelset(&set, SIGABRT);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return -1;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGPWR);
	sv->signals = (struct watch){ .ready = signal_ready, .owner = sv };
	sv->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return sv->signals.fd < 0 ? -1 : 0;
}

static void power_button(void *owner)
{
	log_info("power button");
	supervise_shutdown(owner, GOAL_POWEROFF);
}

/* What a machine needs before its cluster file can be read: filesystems of the kernel, drivers, the config disk. */
static void prepare_machine(struct options *options, struct config_report *report)
{
	machine_mount_early();
	struct config *boot = config_load_boot(&options->source, report);
	if (boot) {
		machine_load_modules(&boot->boot_modules);
		config_free(boot);
	}
	machine_read_config_disk(options->source.directory);
}

static struct config *load(struct options *options, struct config_report *report)
{
	struct config *config = config_load(&options->source, report);

	if (config)
		return config;
	print_findings(report);
	if (getpid() != 1 || !supervisor.machine)
		return NULL;
	/* A machine without services still answers its power button. */
	log_warnx("configuration refused: nothing is started");
	config = calloc(1, sizeof(*config));
	if (config)
		config->profile = options->source.profile;
	return config;
}

int supervise_main(int argc, char **argv)
{
	static struct config_report report;
	struct supervisor *sv = &supervisor;
	struct options options;

	sv->init = getpid() == 1;
	if (watch_signals(sv) < 0) {
		log_warn("signals");
		if (!sv->init)
			return 1;
	}
	sv->machine = sv->init && machine_is_ours();
	if (parse_options(argc, argv, &options) < 0) {
		if (!sv->machine)
			return 2;
		machine_finish(MACHINE_POWEROFF);
	}
	umask(022);
	if (chdir("/") < 0)
		log_warn("chdir /");
	if (sv->machine)
		prepare_machine(&options, &report);
	else if (!sv->init && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		log_warn("become a subreaper");

	struct config *config = load(&options, &report);
	if (!config)
		return 1;
	if (sv->machine) {
		machine_set_name(config->self ? config->self->name : options.source.profile);
		machine_apply_sysctls(config->sysctl, config->sysctl_count);
	}
	int rc = supervise_init(sv, config, &options.source, options.run_dir);
	if (rc == 0)
		rc = loop_add(&sv->loop, &sv->signals, EPOLLIN);
	if (rc == 0)
		rc = control_open(sv);
	if (rc < 0 && !sv->machine)
		return 1;
	if (sv->machine)
		power_button_open(&sv->loop, &sv->power_button, power_button, sv);
	log_info("%s: profile %s, %zu services", config->self ? config->self->name : "lone node", options.source.profile,
		 config->service_count);
	supervise_run(sv);
	log_info("all services stopped");
	if (sv->machine)
		machine_finish(sv->goal == GOAL_REBOOT ? MACHINE_REBOOT
			       : sv->goal == GOAL_HALT ? MACHINE_HALT
						       : MACHINE_POWEROFF);
	return 0;
}
