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
#include "src/node/crash.h"
#include "src/node/emergency.h"
#include "src/node/finish.h"
#include "src/node/machine.h"
#include "src/node/power_button.h"
#include "src/node/watchdog.h"
#include "src/supervise/filters.h"
#include "src/supervise/links.h"
#include "src/supervise/reload.h"
#include "src/supervise/supervise.h"
#include "src/worker/worker.h"

#define GIVE_UP_SECONDS 10

static struct supervisor
	supervisor; /* large, and there from the start: nothing to allocate later */

/*
 * Why the process ended, outside a machine of its own: see supervisor(8). 133 is what
 * systemd-nspawn@.service takes for a reboot.
 */
enum {
	EXIT_STOPPED = 0,
	EXIT_CANNOT = 1,
	EXIT_WRONG_USE = 2,
	EXIT_FORCED = 3,
	EXIT_HALT = 4,
	EXIT_REBOOT = 133,
};

struct options {
	struct config_source source;
	const char *run_dir;
	const char *emergency_shell; /* NULL: none is allowed */
	char **argv;
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
		.argv = argv,
	};
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (take(a, "--profile", &options->source.profile) ||
		    take(a, "--node", &options->source.node) ||
		    take(a, "--config", &options->source.directory) ||
		    take(a, "--run", &options->run_dir) ||
		    take(a, "--emergency-shell", &options->emergency_shell))
			continue;
		/* The kernel hands its init whatever it did not know: no reason not to boot. */
		if (getpid() == 1) {
			log_warnx("argument %s ignored", a);
			continue;
		}
		log_warnx("unknown argument %s; expected --profile=, --node=, --config=, --run= or "
			  "--emergency-shell=",
			  a);
		return -1;
	}
	if (options->emergency_shell && options->emergency_shell[0] != '/') {
		log_warnx("--emergency-shell=%s: expected an absolute path",
			  options->emergency_shell);
		options->emergency_shell = NULL;
		if (getpid() != 1)
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
	case SIGHUP:
		reload(sv);
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
	sigaddset(&set, SIGHUP);
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

/* What a machine needs before its cluster file can be read: drivers, the config disk. Returns what
 * it went by, NULL: nothing that could be read. */
static struct config *prepare_machine(struct options *options)
{
	static struct config_report report;

	crash_doing("load the boot modules", NULL);
	struct config *boot = config_load_boot(&options->source, &report);
	if (boot) {
		machine_load_modules(&boot->boot_modules, NULL);
		watchdog_open(&boot->watchdog);
	} else {
		print_findings(&report); /* the config disk may bring a better one */
	}
	crash_doing("read the config disk", NULL);
	machine_read_config_disk(options->source.directory);
	return boot;
}

/* The whole configuration, of which the config disk may have brought another profile than the one
 * that boot began with. */
static void apply_to_machine(const struct config *config, const char *profile, struct config *boot)
{
	machine_load_modules(&config->boot_modules, boot ? &boot->boot_modules : NULL);
	config_free(boot);
	machine_set_name(config->self ? config->self->name : profile);
	machine_raise_loopback();
	machine_apply_sysctls(config->sysctl, config->sysctl_count);
	watchdog_take(&config->watchdog);
}

/*
 * Boot cannot go on. With an emergency shell: it runs, and what follows from its end happens;
 * returns where there is none, or where it cannot be run.
 */
static void emergency(const struct supervisor *sv, const struct options *options, const char *why)
{
	if (!sv->init || !options->emergency_shell)
		return;
	switch (emergency_run(options->emergency_shell, why)) {
	case EMERGENCY_AGAIN:
		log_info("once more");
		execve("/proc/self/exe", options->argv, environ);
		log_warn("execute this program anew");
		break;
	case EMERGENCY_REBOOT:
		if (sv->machine)
			finish_machine(MACHINE_REBOOT);
		exit(EXIT_CANNOT);
	case EMERGENCY_POWEROFF:
		if (sv->machine)
			finish_machine(MACHINE_POWEROFF);
		exit(EXIT_STOPPED);
	case EMERGENCY_FAILED:
		break;
	}
}

static struct config *load(const struct supervisor *sv, const struct options *options)
{
	static struct config_report report;

	crash_doing("read the configuration", options->source.directory);
	struct config *config = config_load(&options->source, &report);
	if (config)
		return config;
	print_findings(&report);
	emergency(sv, options, "configuration refused: nothing is started");
	if (!sv->machine)
		return NULL;
	/* A machine without services still answers its power button. */
	log_warnx("configuration refused: nothing is started");
	return config_empty(options->source.profile);
}

/* Not even the loop can be set up. A machine whose init only waits is worth nothing to its
 * siblings. */
static int give_up(const struct supervisor *sv, const struct options *options)
{
	emergency(sv, options, "cannot supervise");
	if (!sv->machine)
		return EXIT_CANNOT;
	log_warnx("cannot supervise: reboot in %d s", GIVE_UP_SECONDS);
	sleep(GIVE_UP_SECONDS);
	finish_machine(MACHINE_REBOOT);
}

static bool helpers_alive(void *owner)
{
	return links_alive(owner);
}

static enum machine_end machine_end(enum goal goal)
{
	switch (goal) {
	case GOAL_REBOOT:
		return MACHINE_REBOOT;
	case GOAL_HALT:
		return MACHINE_HALT;
	case GOAL_KEXEC:
		return MACHINE_KEXEC;
	default:
		return MACHINE_POWEROFF;
	}
}

static int run(struct supervisor *sv)
{
	if (sv->machine)
		power_button_open(&sv->loop, power_button, sv);
	watchdog_run(&sv->loop, helpers_alive, sv);
	log_info("%s: profile %s, %zu services",
		 sv->config->self ? sv->config->self->name : "lone node", sv->source.profile,
		 sv->config->service_count);
	supervise_run(sv);
	bool forced = sv->goal_forced;
	log_info(forced ? "some services did not stop in time" : "all services stopped");
	if (sv->machine)
		finish_machine(machine_end(sv->goal));
	forced = (sv->init && !finish_processes()) || forced;
	control_clean_up();
	supervise_clean_up(sv);
	return sv->goal == GOAL_REBOOT ? EXIT_REBOOT
	       : sv->goal == GOAL_HALT ? EXIT_HALT
	       : forced		       ? EXIT_FORCED
				       : EXIT_STOPPED;
}

static int refuse_options(const struct supervisor *sv, const struct options *options)
{
	emergency(sv, options, "wrong options: nothing is started");
	if (!sv->machine)
		return EXIT_WRONG_USE;
	finish_machine(MACHINE_POWEROFF);
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
	crash_install(sv->machine);
	if (sv->machine)
		machine_mount_early();
	unblock_messages(sv);
	if (parse_options(argc, argv, &options) < 0)
		return refuse_options(sv, &options);
	umask(022);
	if (chdir("/") < 0)
		log_warn("chdir /");
	struct config *boot = NULL;
	if (sv->machine)
		boot = prepare_machine(&options);
	else if (!sv->init && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		log_warn("become a subreaper");

	struct config *config = load(sv, &options);
	if (!config)
		return EXIT_CANNOT;
	if (sv->machine)
		apply_to_machine(config, options.source.profile, boot);
	crash_doing("set up", NULL);
	if (signals < 0 || supervise_init(sv, config, &options.source, options.run_dir) < 0 ||
	    loop_add(&sv->loop, &sv->signals, EPOLLIN) < 0 || control_open(sv) < 0)
		return give_up(sv, &options);
	return run(sv);
}
