#include "src/base/loop.h"

#include <errno.h>
#include <limits.h>
#include <time.h>
#include <unistd.h>

#include "src/base/log.h"

int loop_init(struct loop *loop)
{
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll_fd < 0 ? -1 : 0;
}

static int control(struct loop *loop, int op, struct watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return epoll_ctl(loop->epoll_fd, op, watch->fd, &event);
}

int loop_add(struct loop *loop, struct watch *watch, uint32_t events)
{
	return control(loop, EPOLL_CTL_ADD, watch, events);
}

int loop_modify(struct loop *loop, struct watch *watch, uint32_t events)
{
	return control(loop, EPOLL_CTL_MOD, watch, events);
}

void loop_close(struct loop *loop, struct watch *watch)
{
	if (watch->fd < 0)
		return;
	/* Closing alone would leave it watched while a child still holds a copy. */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	close(watch->fd);
	watch->fd = -1;
}

uint64_t loop_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void loop_turn(struct loop *loop, uint64_t deadline_ms)
{
	struct epoll_event event;
	int timeout_ms = -1;

	if (deadline_ms) {
		uint64_t now_ms = loop_now_ms();
		uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
		timeout_ms = left_ms > INT_MAX ? INT_MAX : (int)left_ms;
	}
	int n = epoll_wait(loop->epoll_fd, &event, 1, timeout_ms);
	if (n < 0 && errno != EINTR)
		log_warn("epoll_wait");
	if (n == 1) {
		struct watch *watch = event.data.ptr;
		watch->ready(watch, event.events);
	}
}
