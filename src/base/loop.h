/*
 * The event loop: descriptors and one deadline, over epoll. Single-threaded. One event is fetched
 * at a time, so that a callback may close and free any watch, its own included, without a stale
 * event following.
 */
#ifndef SUPERVISOR_BASE_LOOP_H
#define SUPERVISOR_BASE_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

struct watch {
	int fd;						     /* -1: not watched */
	void (*ready)(struct watch *watch, uint32_t events); /* EPOLLIN, … */
	void *owner;
};

struct loop {
	int epoll_fd;
};

int loop_init(struct loop *loop);
/* Watches watch->fd; the watch must stay where it is until loop_remove. -1 with errno. */
int loop_add(struct loop *loop, struct watch *watch, uint32_t events);
int loop_modify(struct loop *loop, struct watch *watch, uint32_t events);
/* Stops watching and closes the descriptor; watch->fd becomes -1. Nothing happens if it is -1
 * already. */
void loop_close(struct loop *loop, struct watch *watch);
/* Handles one event, or returns when deadline_ms (loop_now_ms; 0: none) has come. */
void loop_turn(struct loop *loop, uint64_t deadline_ms);
/* CLOCK_BOOTTIME in milliseconds: the only clock of the supervising process. */
uint64_t loop_now_ms(void);

#endif
