#include "src/node/emergency.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/base/loop.h"
#include "src/node/crash.h"
#include "src/node/power_button.h"
#include "src/node/watchdog.h"

#define FEED_MS	     2000
#define LEAST_MS     1000 /* of a try: one that ends at once must not be tried in a busy loop */
#define NOT_EXECUTED 127

static struct {
	struct loop loop;
	struct watch signals;
	bool ended; /* `end` is decided */
	enum emergency_end end;
} emergency;

static void decide(enum emergency_end end)
{
	emergency.ended = true;
	emergency.end = end;
}

/* The console as a shell wants it: of its own session, and blocking. Without one, what we have. */
static void take_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NONBLOCK);

	setsid();
	if (fd < 0)
		return;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	/* The call itself: C libraries differ about the type of ioctl's request. */
	syscall(SYS_ioctl, fd, TIOCSCTTY, 1);
	for (int i = 0; i <= 2; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static _Noreturn void become(const char *path)
{
	static const char *const environment[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/",
		"TERM=linux", NULL};
	const char *const arguments[] = {path, NULL};
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (getppid() == 1 && isatty(STDERR_FILENO))
		take_console();
	execve(path, (char *const *)(uintptr_t)arguments, (char *const *)(uintptr_t)environment);
	log_warn("exec %s", path);
	_exit(NOT_EXECUTED);
}

static void reap(pid_t shell)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != shell || emergency.ended)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			decide(EMERGENCY_AGAIN);
		else if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_EXECUTED)
			decide(EMERGENCY_FAILED);
		else
			decide(EMERGENCY_REBOOT);
	}
}

static void signal_ready(struct watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGINT)
		decide(EMERGENCY_REBOOT);
	else if (info.ssi_signo != SIGCHLD)
		decide(EMERGENCY_POWEROFF);
}

static void pressed(void *owner)
{
	(void)owner;
	decide(EMERGENCY_POWEROFF);
}

static int open_loop(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGPWR);
	emergency.signals = (struct watch){.ready = signal_ready};
	emergency.signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (emergency.signals.fd < 0 || loop_init(&emergency.loop) < 0 ||
	    loop_add(&emergency.loop, &emergency.signals, EPOLLIN) < 0)
		return -1;
	power_button_open(&emergency.loop, pressed, NULL);
	return 0;
}

enum emergency_end emergency_run(const char *path, const char *why)
{
	uint64_t begin_ms = loop_now_ms();

	crash_doing("emergency shell", why);
	log_warnx("%s", why);
	log_warnx("emergency shell %s: exit 0 tries again, exit 1 reboots", path);
	if (open_loop() < 0) {
		log_warn("emergency shell");
		return EMERGENCY_FAILED;
	}
	pid_t pid = fork();
	if (pid == 0)
		become(path);
	if (pid < 0) {
		log_warn("emergency shell: fork");
		return EMERGENCY_FAILED;
	}
	/* An armed watchdog is fed here: whoever sits at the console is progress enough. */
	for (reap(pid); !emergency.ended; reap(pid)) {
		watchdog_feed();
		loop_turn(&emergency.loop, loop_now_ms() + FEED_MS);
	}
	while (emergency.end == EMERGENCY_AGAIN && loop_now_ms() < begin_ms + LEAST_MS) {
		loop_turn(&emergency.loop, begin_ms + LEAST_MS);
		reap(0);
	}
	return emergency.end;
}
