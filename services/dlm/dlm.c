/*
 * Worker `@dlm`: the part that dlm_controld plays elsewhere. The kernel's DLM asks it for
 * permission to join and leave lockspaces and is told who the members are; with the peer's process
 * it agrees on that first (view.h). It never declares anyone dead by itself: a lost connection
 * halts nothing and releases nothing; a peer whose new life shows itself has lost its old one.
 *
 * When this process ends, the kernel halts the lockspaces until the next one has agreed with the
 * peer to go on (saved.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "services/dlm/kernel.h"
#include "services/dlm/link.h"
#include "services/dlm/saved.h"
#include "services/dlm/view.h"
#include "services/dlm/wire.h"
#include "src/base/log.h"
#include "src/worker/worker.h"

#define LOCKSPACES_MAX 8

struct lockspace {
	char name[WIRE_LOCKSPACE_BYTES];
	struct view_machine machine;
};

struct dlm {
	struct worker_context context;
	struct link link;
	int monitor_fd, event_fd, signal_fd;
	bool ready;
	bool peer_known; /* peer_boot is set: the life that comms/PEER belongs to */
	uint8_t peer_boot[WIRE_BOOT_BYTES];
	struct lockspace lockspace[LOCKSPACES_MAX];
	size_t lockspace_count;
};

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The kernel's own id of this boot: it changes exactly when all locks are gone. */
static int read_boot_id(uint8_t boot[WIRE_BOOT_BYTES])
{
	static const char path[] = "/proc/sys/kernel/random/boot_id";
	char text[64];
	size_t used = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0) {
		log_warn("read %s", path);
		return -1;
	}
	text[n] = '\0';
	for (const char *p = text; *p && used < 2 * WIRE_BOOT_BYTES; p++) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, *p);
		if (!digit)
			continue;
		const uint8_t value = (uint8_t)(digit - digits);
		boot[used / 2] = (uint8_t)(used % 2 ? boot[used / 2] | value : value << 4);
		used++;
	}
	if (used == 2 * WIRE_BOOT_BYTES)
		return 0;
	log_warnx("%s: found \"%s\", expected 32 hexadecimal digits", path, text);
	return -1;
}

static size_t ids_of(const struct dlm *dlm, const struct lockspace *lockspace, uint8_t members,
		     uint16_t ids[2])
{
	size_t count = 0;

	if (members & lockspace->machine.self)
		ids[count++] = dlm->context.self->id;
	if (members & lockspace->machine.peer)
		ids[count++] = dlm->context.peer->id;
	return count;
}

static void say_view(const struct dlm *dlm, const struct lockspace *lockspace)
{
	const struct view *view = &lockspace->machine.view;
	const bool self = view->members & lockspace->machine.self;
	const bool peer = view->members & lockspace->machine.peer;

	log_info("lockspace %s: view %llu, members:%s%s%s%s", lockspace->name,
		 (unsigned long long)view->number, self ? " " : "",
		 self ? dlm->context.self->name : "", peer ? " " : "",
		 peer	? dlm->context.peer->name
		 : self ? ""
			: " none");
}

/* What the machine decided, done. A kernel that refuses is reported; the views stay agreed, and the
 * mount that waits fails or hangs visibly. */
static void perform(struct dlm *dlm, struct lockspace *lockspace,
		    const struct view_actions *actions)
{
	uint16_t ids[2];

	for (size_t i = 0; i < actions->count; i++) {
		const uint8_t members = actions->action[i].members;
		switch (actions->action[i].what) {
		case VIEW_DO_STOP:
			kernel_stop(lockspace->name);
			break;
		case VIEW_DO_FORGET_PEER:
			kernel_forget(lockspace->name, dlm->context.peer->id);
			kernel_remove_node(dlm->context.peer->id);
			break;
		case VIEW_DO_START:
			kernel_start(lockspace->name, ids, ids_of(dlm, lockspace, members, ids));
			say_view(dlm, lockspace);
			break;
		case VIEW_DO_JOINED:
			kernel_joined(lockspace->name);
			break;
		case VIEW_DO_LEFT:
			kernel_left(lockspace->name);
			say_view(dlm, lockspace);
			break;
		case VIEW_DO_SEND:
			link_show(&dlm->link, lockspace->name, &lockspace->machine);
			break;
		case VIEW_DO_EXCLUDED:
			fatalx("lockspace %s: %s went on without this node, which must restart",
			       lockspace->name, dlm->context.peer->name);
		case VIEW_DO_BREAK:
			link_break(&dlm->link, "its view contradicts this node's");
			break;
		}
	}
}

/* After each event: what the next process, should this one end, has to know. */
static void save(const struct dlm *dlm, const struct lockspace *lockspace)
{
	struct wire_message message = {.kind = WIRE_VIEW,
				       .view = lockspace->machine.view,
				       .want = lockspace->machine.want};

	message.from = dlm->peer_known ? dlm->context.peer->id : 0;
	memcpy(message.boot, dlm->peer_boot, WIRE_BOOT_BYTES);
	snprintf(message.lockspace, sizeof(message.lockspace), "%s", lockspace->name);
	saved_write(&message);
}

static void finish(struct dlm *dlm, struct lockspace *lockspace, const struct view_actions *actions)
{
	perform(dlm, lockspace, actions);
	save(dlm, lockspace);
}

/* Finds or adds; NULL when the table is full (said). */
static struct lockspace *find_lockspace(struct dlm *dlm, const char *name)
{
	for (size_t i = 0; i < dlm->lockspace_count; i++)
		if (strcmp(dlm->lockspace[i].name, name) == 0)
			return &dlm->lockspace[i];
	if (dlm->lockspace_count == LOCKSPACES_MAX) {
		log_warnx("lockspace %s: more than %d", name, LOCKSPACES_MAX);
		return NULL;
	}
	const struct cluster_node *self = dlm->context.self, *peer = dlm->context.peer;
	const bool low = !peer || self->id < peer->id;
	struct lockspace *lockspace = &dlm->lockspace[dlm->lockspace_count++];
	snprintf(lockspace->name, sizeof(lockspace->name), "%s", name);
	view_init(&lockspace->machine, low ? VIEW_LOW : VIEW_HIGH,
		  !peer ? 0
		  : low ? VIEW_HIGH
			: VIEW_LOW);
	if (dlm->link.state == LINK_UP) {
		struct view_actions actions = {0};
		view_connected(&lockspace->machine, &actions);
		perform(dlm, lockspace, &actions);
	}
	return lockspace;
}

static void for_each_lockspace(struct dlm *dlm,
			       void (*event)(struct view_machine *, struct view_actions *))
{
	for (size_t i = 0; i < dlm->lockspace_count; i++) {
		struct view_actions actions = {0};
		event(&dlm->lockspace[i].machine, &actions);
		finish(dlm, &dlm->lockspace[i], &actions);
	}
}

static void peer_confirmed(struct dlm *dlm)
{
	const struct cluster_node *peer = dlm->context.peer;
	const bool same = dlm->peer_known &&
			  memcmp(dlm->peer_boot, dlm->link.peer_boot, WIRE_BOOT_BYTES) == 0;

	if (!same) {
		if (dlm->peer_known) {
			log_warnx("%s has started anew: its old life's locks are released",
				  peer->name);
			for_each_lockspace(dlm, view_peer_dead);
			kernel_remove_node(peer->id);
		}
		memcpy(dlm->peer_boot, dlm->link.peer_boot, WIRE_BOOT_BYTES);
		dlm->peer_known = true;
		if (kernel_add_node(peer->id, peer->address.address, false) < 0) {
			link_break(&dlm->link, "the kernel refused its address");
			return;
		}
	}
	log_info("connected with %s", peer->name);
	worker_status("connected with %s", peer->name);
	for_each_lockspace(dlm, view_connected);
	if (!dlm->ready)
		worker_ready();
	dlm->ready = true;
}

static void follow_link(struct dlm *dlm)
{
	struct wire_message message;
	struct lockspace *lockspace;
	enum link_event event;

	while ((event = link_step(&dlm->link, now_ms(), &message)) != LINK_NOTHING) {
		if (event == LINK_CONFIRMED) {
			peer_confirmed(dlm);
		} else if (event == LINK_LOST) {
			worker_status("waiting for %s", dlm->context.peer->name);
			for_each_lockspace(dlm, view_disconnected);
		} else if ((lockspace = find_lockspace(dlm, message.lockspace))) {
			struct view_actions actions = {0};
			view_shown(&lockspace->machine, &message.view, message.want, message.halted,
				   &actions);
			finish(dlm, lockspace, &actions);
		}
	}
}

static void follow_kernel(struct dlm *dlm)
{
	char name[WIRE_LOCKSPACE_BYTES];
	bool online = false;
	int got;

	while ((got = kernel_event_read(dlm->event_fd, &online, name, sizeof(name))) >= 0) {
		struct view_actions actions = {0};
		struct lockspace *lockspace = got == 1 ? find_lockspace(dlm, name) : NULL;
		if (!lockspace)
			continue;
		view_want(&lockspace->machine, online, &actions);
		finish(dlm, lockspace, &actions);
	}
}

/* A lockspace from before this process: let in by an earlier one, or waiting to be. */
static void resume(const char *name, bool member, void *argument)
{
	struct dlm *dlm = argument;
	struct wire_message message;
	struct lockspace *lockspace = find_lockspace(dlm, name);
	const bool saved = saved_read(&message, name);

	if (!lockspace || (member && !saved))
		fatalx("lockspace %s is left from an earlier process, and what that knew is lost: "
		       "this node must restart",
		       name);
	if (!saved) {
		lockspace->machine.want = true;
		return;
	}
	log_info("lockspace %s: going on from view %llu", name,
		 (unsigned long long)message.view.number);
	view_resume(&lockspace->machine, &message.view, message.want);
	if (dlm->context.peer && message.from == dlm->context.peer->id) {
		dlm->peer_known = true;
		memcpy(dlm->peer_boot, message.boot, WIRE_BOOT_BYTES);
	}
}

static int open_all(struct dlm *dlm)
{
	const struct worker_context *context = &dlm->context;
	uint8_t boot[WIRE_BOOT_BYTES];

	if (read_boot_id(boot) < 0)
		return -1;
	if (context->peer && context->identity.name[0] == '\0') {
		log_warnx("node.conf is needed for the key to %s", context->peer->name);
		return -1;
	}
	dlm->signal_fd = worker_stop_signals();
	dlm->event_fd = kernel_event_open();
	if (dlm->signal_fd < 0 || dlm->event_fd < 0)
		return -1;
	kernel_lockspaces(resume, dlm);
	if (dlm->lockspace_count == 0)
		saved_clear();
	dlm->monitor_fd = kernel_open(context->cluster->name, dlm->lockspace_count > 0);
	if (dlm->monitor_fd < 0 ||
	    kernel_add_node(context->self->id, context->self->address.address, true) < 0)
		return -1;
	return context->peer ? link_open(&dlm->link, context->self, context->peer,
					 context->identity.secret_key, boot)
			     : 0;
}

/* 1 after an orderly end, 0 to go on, -1 on an error that leaves no sense in going on. */
static int wait_and_follow(struct dlm *dlm)
{
	struct pollfd fds[2 + LINK_POLL_FDS] = {{.fd = dlm->signal_fd, .events = POLLIN},
						{.fd = dlm->event_fd, .events = POLLIN}};
	size_t count = 2;
	int timeout_ms = -1;

	if (dlm->context.peer)
		count += link_poll(&dlm->link, fds + 2, now_ms(), &timeout_ms);
	if (poll(fds, (nfds_t)count, timeout_ms) < 0 && errno != EINTR) {
		log_warn("poll");
		return -1;
	}
	if (fds[0].revents)
		return 1;
	if (fds[1].revents)
		follow_kernel(dlm);
	if (dlm->context.peer)
		follow_link(dlm);
	return 0;
}

/* A lockspace that is still in use halts; its description stays for the next process. */
static void close_all(struct dlm *dlm)
{
	bool in_use = false;

	for (size_t i = 0; i < dlm->lockspace_count; i++) {
		if (!dlm->lockspace[i].machine.member)
			continue;
		log_warnx("lockspace %s is still in use: it halts", dlm->lockspace[i].name);
		in_use = true;
	}
	if (dlm->context.peer)
		link_close(&dlm->link);
	if (!in_use)
		kernel_close(dlm->monitor_fd);
}

int dlm_worker(int argc, char **argv)
{
	static struct dlm dlm;
	int rc;

	if (argc != 1) {
		log_warnx("expected no argument, found \"%s\"", argv[1]);
		return 2;
	}
	worker_load(&dlm.context);
	if (open_all(&dlm) < 0)
		return 1;
	if (!dlm.context.peer)
		worker_ready();
	else
		worker_status("waiting for %s", dlm.context.peer->name);
	/* Alone with what an earlier process left: what can go on without the peer does. */
	for_each_lockspace(&dlm, view_disconnected);
	while ((rc = wait_and_follow(&dlm)) == 0)
		;
	close_all(&dlm);
	return rc < 0 ? 1 : 0;
}
