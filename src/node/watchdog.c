#include "src/node/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "src/base/log.h"

#define FEEDS_A_TIMEOUT 3
#define DEVICE_BYTES	128

static struct {
	char device[DEVICE_BYTES];
	int fd;
	int seconds; /* the timeout that the device has */
	bool open, covered, starving;
	struct watch timer;
	bool (*alive)(void *owner);
	void *owner;
} dog = {.fd = -1, .timer = {.fd = -1}};

/* The call itself: C libraries differ about the type of ioctl's request. */
static int control(unsigned long request, int *value)
{
	return (int)syscall(SYS_ioctl, dog.fd, request, value);
}

static int set_timeout(int seconds)
{
	int value = seconds;

	if (control(WDIOC_SETTIMEOUT, &value) < 0)
		return -1;
	/* Devices round, and older drivers do not tell here. */
	if (control(WDIOC_GETTIMEOUT, &dog.seconds) < 0)
		dog.seconds = value;
	return 0;
}

void watchdog_open(const struct watchdog_def *def)
{
	if (!def->device)
		return;
	if (dog.open && strcmp(dog.device, def->device) != 0) {
		log_warnx("watchdog %s is open already: %s is left alone", dog.device, def->device);
		return;
	}
	if (!dog.open) {
		snprintf(dog.device, sizeof(dog.device), "%s", def->device);
		dog.fd = open(def->device, O_WRONLY | O_CLOEXEC);
		if (dog.fd < 0) {
			log_warn("watchdog %s (is its driver among the profile's boot-modules?)",
				 def->device);
			return;
		}
		dog.open = true;
		dog.seconds = -1;
	}
	int wanted = (int)(def->timeout_ms / 1000);
	if (dog.seconds == wanted)
		return;
	if (set_timeout(wanted) < 0) {
		log_warn("watchdog %s: timeout of %d s", dog.device, wanted);
		if (control(WDIOC_GETTIMEOUT, &dog.seconds) < 0 || dog.seconds <= 0)
			dog.seconds = wanted;
	}
	watchdog_feed();
	log_info("watchdog %s: resets this machine after %d s of silence", dog.device, dog.seconds);
}

void watchdog_take(const struct watchdog_def *def)
{
	if (def->device)
		watchdog_open(def);
	else
		watchdog_disarm();
	watchdog_feed();
}

void watchdog_feed(void)
{
	if (!dog.open)
		return;
	/* Any byte but V, which says: I am going to close you, and mean it. */
	if (control(WDIOC_KEEPALIVE, NULL) < 0 && write(dog.fd, "", 1) != 1)
		log_warn("watchdog %s: feed", dog.device);
}

static uint64_t period_ms(void)
{
	return (uint64_t)dog.seconds * 1000 / FEEDS_A_TIMEOUT;
}

static void timer_ready(struct watch *watch, uint32_t events)
{
	uint64_t expired;

	(void)events;
	if (read(watch->fd, &expired, sizeof(expired)) != sizeof(expired))
		return;
	if (dog.alive(dog.owner)) {
		if (dog.starving)
			log_info("watchdog %s: fed again", dog.device);
		dog.starving = false;
		watchdog_feed();
		return;
	}
	if (!dog.starving)
		log_warnx("watchdog %s: not fed any more; the machine is reset within %d s",
			  dog.device, dog.seconds);
	dog.starving = true;
}

void watchdog_run(struct loop *loop, bool (*alive)(void *owner), void *owner)
{
	if (!dog.open)
		return;
	uint64_t ms = period_ms();
	struct timespec period = {.tv_sec = (time_t)(ms / 1000),
				  .tv_nsec = (long)(ms % 1000) * 1000000};
	struct itimerspec every = {.it_value = period, .it_interval = period};

	dog.alive = alive;
	dog.owner = owner;
	dog.timer.ready = timer_ready;
	dog.timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (dog.timer.fd < 0 || timerfd_settime(dog.timer.fd, 0, &every, NULL) < 0 ||
	    loop_add(loop, &dog.timer, EPOLLIN) < 0)
		log_warn("watchdog %s: timer", dog.device);
	watchdog_feed();
}

void watchdog_cover(uint32_t ms)
{
	if (!dog.open)
		return;
	int before = dog.seconds, wanted = (int)(ms / 1000) + 1;

	dog.covered = dog.seconds >= wanted || (set_timeout(wanted) == 0 && dog.seconds >= wanted);
	if (!dog.covered && dog.seconds <= 0)
		dog.seconds = before;
	watchdog_feed();
}

uint64_t watchdog_keep(void)
{
	if (!dog.open || dog.covered)
		return UINT64_MAX;
	watchdog_feed();
	return period_ms();
}

void watchdog_disarm(void)
{
	if (!dog.open)
		return;
	if (write(dog.fd, "V", 1) != 1 || close(dog.fd) < 0)
		log_warn("watchdog %s: disarm", dog.device);
	dog.open = false;
}
