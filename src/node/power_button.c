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

#define DEVICES_MAX 32
#define BUTTONS_MAX 8

static void (*on_press)(void *owner);
static struct loop *watching;
static struct watch button[BUTTONS_MAX];

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

/* False: no device of that number, or one without the key. */
static bool open_device(int number, struct watch *watch)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/input/event%d", number);
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	watch->fd = fd;
	if (has_power_key(fd) && loop_add(watching, watch, EPOLLIN) == 0) {
		log_info("power button: %s", path);
		return true;
	}
	close(fd);
	watch->fd = -1;
	return false;
}

void power_button_open(struct loop *loop, void (*pressed)(void *owner), void *owner)
{
	int used = 0;

	on_press = pressed;
	watching = loop;
	for (int i = 0; i < DEVICES_MAX && used < BUTTONS_MAX; i++) {
		button[used] = (struct watch){.fd = -1, .ready = button_ready, .owner = owner};
		used += open_device(i, &button[used]);
	}
}
