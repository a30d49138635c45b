#include "src/supervise/demand.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/process/clients.h"

/* Of a processor's time: less than a thousandth is no work. */
#define IDLE_FRACTION 1000

static void client_came(struct watch *watch, uint32_t events)
{
	struct instance *instance = watch->owner;

	(void)events;
	supervise_event(instance->supervisor, instance->index, LIFE_DEMAND);
}

static void unwatch(struct instance *instance)
{
	for (size_t i = 0; i < instance->def->listen_count && i < ON_DEMAND_SOCKETS_MAX; i++)
		loop_close(&instance->supervisor->loop, &instance->demand[i]);
}

/* Duplicates, since the members of a pool watch the same sockets. */
int demand_watch(struct instance *instance, const int *fds)
{
	for (size_t i = 0; i < instance->def->listen_count; i++) {
		struct watch *watch = &instance->demand[i];
		*watch = (struct watch){.ready = client_came, .owner = instance};
		watch->fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (watch->fd < 0 || loop_add(&instance->supervisor->loop, watch, EPOLLIN) < 0) {
			int error = errno;
			unwatch(instance);
			errno = error;
			return -1;
		}
	}
	return 0;
}

static void begin_idle_time(struct instance *instance)
{
	instance->idle_at_ms = loop_now_ms() + instance->def->idle_stop_ms;
	instance->idle_cpu_us = cgroup_cpu_us(instance->cgroup_fd);
}

void demand_follow(struct instance *instance, enum life_state state)
{
	if (!instance->policy.on_demand)
		return;
	if (state != LIFE_LISTENING)
		unwatch(instance);
	if (state != LIFE_READY)
		instance->idle_at_ms = 0;
	else if (instance->def->idle_stop_ms && instance->idle_at_ms == 0)
		begin_idle_time(instance);
}

static bool has_clients(const struct instance *instance)
{
	for (size_t i = 0; i < instance->def->listen_count; i++) {
		int clients = clients_connected(&instance->def->listen[i]);
		if (clients < 0)
			log_warn("%s: clients of %s", instance->def->name,
				 instance->def->listen[i].text);
		if (clients != 0)
			return true; /* or not known: then it stays */
	}
	return false;
}

/*
 * No client at its sockets now, and since the last look its processes have hardly worked: a server
 * of short connections is busy even if none happens to be open. A client that comes while it stops
 * waits in the socket's queue and starts it again.
 */
bool demand_is_unused(struct instance *instance)
{
	int64_t before_us = instance->idle_cpu_us;

	begin_idle_time(instance);
	int64_t worked_us = before_us < 0 || instance->idle_cpu_us < 0
				    ? 0 /* no cgroups: its clients alone tell */
				    : instance->idle_cpu_us - before_us;
	return worked_us < (int64_t)instance->def->idle_stop_ms * 1000 / IDLE_FRACTION &&
	       !has_clients(instance);
}
