#include "src/supervise/main.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
#include "src/supervise/filters.h"
#include "src/supervise/supervise.h"
#include "src/worker/worker.h"

#define GIVE_UP_SECONDS 10

static struct supervisor
	supervisor; /* large, and there from the start: nothing to allocate later */

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

/* The working directory is going to be /. `kept` holds the result; false: it does not fit. */
static bool make_absolute(const char **path, char kept[PATH_MAX])
{
	char here[PATH_MAX];

	if (**path == '/')
		return true;
	if (!getcwd(here, sizeof(here)) ||
	    snprintf(kept, PATH_MAX, "%s/%s", here, *path) >= PATH_MAX)
		return false;
	*path = kept;
	return true;
}

static int check_options(struct options *options)
{
	static char directory[PATH_MAX], run[PATH_MAX];

	if (!options->source.profile) {
		log_warnx("no profile given: --profile=NAME");
		return -1;
	}
	if (!*options->source.profile || !*options->source.directory || !*options->run_dir ||
	    (options->source.node && !*options->source.node)) {
		log_warnx("--profile=, --node=, --config= and --run= each need a value");
		return -1;
	}
	if (!make_absolute(&options->source.directory, directory) ||
	    !make_absolute(&options->run_dir, run)) {
		log_warnx("the path of --config= or --run= is too long");
		return -1;
	}
	return 0;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	*options = (struct options){
		.source = {.directory = "/etc/supervisor",
			   .worker_known = worker_known,
			   .filter_good = filter_good,
			   .refuse_cycles = true},
		.run_dir = "/run/supervisor",
	};
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (take(a, "--profile", &options->source.profile) ||
		    take(a, "--node", &options->source.node) ||
		    take(a, "--config", &options->source.directory) ||
		    take(a, "--run", &options->run_dir))
			continue;
		/* The kernel hands its init whatever it did not know: no reason not to boot. */
		if (getpid() == 1) {
			log_warnx("argument %s ignored", a);
			continue;
		}
		log_warnx("unknown argument %s; expected --profile=, --node=, --config= or --run=",
			  a);
		return -1;
	}
	return check_options(options);
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

/* Blocked before anything else is done: from here on no signal interrupts or kills, all arrive
 * through a descriptor. */
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
	/* Whoever started us may ignore it: then the kernel reaps in our place, and tells nobody.
	 */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGPWR);
	sv->signals = (struct watch){.ready = signal_ready, .owner = sv};
	sv->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return sv->signals.fd < 0 ? -1 : 0;
}

static void power_button(void *owner)
{
	log_info("power button");
	supervise_shutdown(owner, GOAL_POWEROFF);
}

/* A descriptor that is opened later must not become a standard one: messages would go there, and to
 * every child. */
static void hold_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			open("/", O_RDONLY | O_DIRECTORY);
}

/*
 * Nobody who stops reading our messages may stop us. For a pipe and a terminal, by opening it anew:
 * the flag on what we were given would be there for all who have it. A socket cannot be opened so.
 */
static void unblock_messages(struct supervisor *sv)
{
	struct stat st;
	int fd = -1;

	sv->output_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	if (S_ISSOCK(st.st_mode))
		fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK);
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return;
	dup2(fd, STDERR_FILENO);
	close(fd);
}

/* What a machine needs before its cluster file can be read: drivers, the config disk. */
static void prepare_machine(struct options *options)
{
	static struct config_report report;
	struct config *boot = config_load_boot(&options->source, &report);

	if (boot) {
		machine_load_modules(&boot->boot_modules);
		config_free(boot);
	} else {
		print_findings(&report); /* the config disk may bring a better one */
	}
	machine_read_config_disk(options->source.directory);
}

static struct config *load(struct options *options)
{
	static struct config_report report;
	static struct config nothing;
	struct config *config = config_load(&options->source, &report);

	if (config)
		return config;
	print_findings(&report);
	if (!supervisor.machine)
		return NULL;
	/* A machine without services still answers its power button. */
	log_warnx("configuration refused: nothing is started");
	nothing.profile = options->source.profile;
	return &nothing;
}

/* Not even the loop can be set up. A machine whose init only waits is worth nothing to its
 * siblings. */
static int give_up(const struct supervisor *sv)
{
	if (!sv->machine)
		return 1;
	log_warnx("cannot supervise: reboot in %d s", GIVE_UP_SECONDS);
	sleep(GIVE_UP_SECONDS);
	machine_finish(MACHINE_REBOOT);
}

static int run(struct supervisor *sv)
{
	if (sv->machine)
		power_button_open(&sv->loop, power_button, sv);
	log_info("%s: profile %s, %zu services",
		 sv->config->self ? sv->config->self->name : "lone node", sv->source.profile,
		 sv->config->service_count);
	supervise_run(sv);
	log_info("all services stopped");
	if (sv->machine)
		machine_finish(sv->goal == GOAL_REBOOT ? MACHINE_REBOOT
			       : sv->goal == GOAL_HALT ? MACHINE_HALT
						       : MACHINE_POWEROFF);
	control_clean_up();
	supervise_clean_up(sv);
	return 0;
}

int supervise_main(int argc, char **argv)
{
	struct supervisor *sv = &supervisor;
	struct options options;

	hold_standard_descriptors();
	sv->init = getpid() == 1;
	int signals = watch_signals(sv);
	if (signals < 0)
		log_warn("signals");
	sv->machine = sv->init && machine_is_ours();
	if (sv->machine)
		machine_mount_early();
	unblock_messages(sv);
	if (parse_options(argc, argv, &options) < 0) {
		if (!sv->machine)
			return 2;
		machine_finish(MACHINE_POWEROFF);
	}
	umask(022);
	if (chdir("/") < 0)
		log_warn("chdir /");
	if (sv->machine)
		prepare_machine(&options);
	else if (!sv->init && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		log_warn("become a subreaper");

	struct config *config = load(&options);
	if (!config)
		return 1;
	if (sv->machine) {
		machine_set_name(config->self ? config->self->name : options.source.profile);
		machine_apply_sysctls(config->sysctl, config->sysctl_count);
	}
	if (signals < 0 || supervise_init(sv, config, &options.source, options.run_dir) < 0 ||
	    loop_add(&sv->loop, &sv->signals, EPOLLIN) < 0 || control_open(sv) < 0)
		return give_up(sv);
	return run(sv);
}
