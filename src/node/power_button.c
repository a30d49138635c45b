#include "src/node/power_button.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/base/log.h"

#define DEVICES_MAX 8

static void (*on_press)(void *owner);
static struct loop *watching;

static void button_ready(struct watch *watch, uint32_t events)
{
	struct input_event event;

	(void)events;
	ssize_t n = read(watch->fd, &event, sizeof(event));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(event)) { /* ENODEV: pulled out */
		log_warn("power button");
		loop_close(watching, watch);
		return;
	}
	if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
		on_press(watch->owner);
}

static bool has_power_key(int fd)
{
	unsigned char keys[KEY_MAX / 8 + 1] = {0};

	/* The call itself: C libraries differ about the type of ioctl's request. */
	return syscall(SYS_ioctl, fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
	       keys[KEY_POWER / 8] & (1 << (KEY_POWER % 8));
}

void power_button_open(struct loop *loop, struct watch *watch, void (*pressed)(void *owner),
		       void *owner)
{
	on_press = pressed;
	watching = loop;
	*watch = (struct watch){.fd = -1, .ready = button_ready, .owner = owner};
	for (int i = 0; i < DEVICES_MAX; i++) {
		char path[64];
		snprintf(path, sizeof(path), "/dev/input/event%d", i);
		int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!has_power_key(fd)) {
			close(fd);
			continue;
		}
		watch->fd = fd;
		if (loop_add(loop, watch, EPOLLIN) < 0)
			log_warn("watch the power button");
		else
			log_info("power button: %s", path);
		return;
	}
}
