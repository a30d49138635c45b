/*
 * switch: an Ethernet switch in user space for the demo's and the tests' machines.
 *
 *	switch [--host=ADDRESS/BITS] [--forward=ADDRESS:PORT=ADDRESS:PORT]… [--seed=N] DIR PORT…
 *
 * Every PORT is a socket DIR/PORT.port for one machine; DIR/switch.ctl takes commands (control.h).
 *With --host the port `host` joins, through which --forward leads in. Prints "ready" when all
 *sockets listen; runs until SIGTERM or SIGINT. Exit codes: 0 told to stop, 1 the system said no, 2
 *wrong arguments.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "fabric.h"
#include "uplink.h"

enum { EXIT_SYSTEM = 1, EXIT_USAGE = 2 };

struct options {
	const char *host;
	const char *forwards[FORWARDS_MAX];
	size_t forward_count;
	uint64_t seed;
	const char *dir;
	char **ports;
	size_t port_count;
};

static struct fabric fabric;
static struct control control;

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static int usage(const char *problem, const char *found)
{
	fprintf(stderr,
		"switch: %s%s\n"
		"usage: switch [--host=ADDRESS/BITS] [--forward=ADDRESS:PORT=ADDRESS:PORT]... "
		"[--seed=N] DIR PORT...\n",
		problem, found);
	return EXIT_USAGE;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"host", required_argument, NULL, 'h'},
		{"forward", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{0},
	};
	char *end;
	opterr = 0;
	*options = (struct options){0};
	if (getrandom(&options->seed, sizeof options->seed, 0) < 0)
		options->seed = now_ns();
	for (int option; (option = getopt_long(argc, argv, "+", names, NULL)) != -1;) {
		switch (option) {
		case 'h':
			options->host = optarg;
			break;
		case 'f':
			if (options->forward_count == FORWARDS_MAX)
				return usage("too many --forward: ", optarg);
			options->forwards[options->forward_count++] = optarg;
			break;
		case 's':
			options->seed = strtoull(optarg, &end, 10);
			if (end == optarg || *end)
				return usage("--seed: expected a number, found ", optarg);
			break;
		default:
			return usage("unknown option, or one without its value: ",
				     argv[optind - 1]);
		}
	}
	if (argc - optind < 2)
		return usage("expected a directory and at least one port", "");
	if (options->forward_count > 0 && !options->host)
		return usage("--forward needs --host", "");
	options->dir = argv[optind];
	options->ports = argv + optind + 1;
	options->port_count = (size_t)(argc - optind - 1);
	return 0;
}

static int add_ports(const struct options *options)
{
	char path[PATH_MAX];
	for (size_t i = 0; i < options->port_count; i++) {
		const char *name = options->ports[i];
		if (!fabric_valid_name(name))
			return usage("a port's name is 1 to 32 of a-z 0-9 -, found ", name);
		if (strcmp(name, "host") == 0 || fabric_find(&fabric, name, strlen(name)) >= 0)
			return usage("this name is taken: ", name);
		snprintf(path, sizeof path, "%s/%s.port", options->dir, name);
		if (fabric_add_port(&fabric, name, path, NULL, NULL) < 0) {
			fprintf(stderr, "switch: cannot listen at %s: %s\n", path, strerror(errno));
			return EXIT_SYSTEM;
		}
	}
	return 0;
}

static int add_uplink(const struct options *options, struct uplink **uplink)
{
	*uplink = NULL;
	if (!options->host)
		return 0;
	*uplink = uplink_new(&fabric, options->host);
	if (!*uplink)
		return EXIT_SYSTEM;
	for (size_t i = 0; i < options->forward_count; i++)
		if (!uplink_forward(*uplink, options->forwards[i]))
			return EXIT_SYSTEM;
	return 0;
}

/* Blocks the signals that end the switch and returns a descriptor that tells of them; -1 with
 * errno. */
static int watch_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* How long poll(2) may wait: slirp's wish, and no longer than the next delayed frame. Rounded up,
 * not to spin. */
static int wait_ms(uint32_t slirp_ms, uint64_t due_ns, uint64_t now)
{
	uint64_t wait = slirp_ms;
	if (due_ns != UINT64_MAX) {
		uint64_t until = due_ns > now ? (due_ns - now + 999999) / 1000000 : 0;
		if (until < wait)
			wait = until;
	}
	return wait >= INT_MAX ? -1 : (int)wait;
}

/* poll(2) and not epoll: slirp names its descriptors anew before each wait, and there are few. */
static int run(int signals, struct uplink *uplink)
{
	static struct pollfd polls[1 + CONTROL_POLLS + 2 * PORTS_MAX + UPLINK_POLLS_MAX];
	for (;;) {
		uint64_t now = now_ns();
		uint64_t due = fabric_run_delayed(&fabric, now);
		fabric_flush(&fabric);

		uint32_t slirp_ms = UINT32_MAX;
		polls[0] = (struct pollfd){.fd = signals, .events = POLLIN};
		control_poll_fill(&control, polls + 1);
		struct pollfd *port_polls = polls + 1 + CONTROL_POLLS;
		struct pollfd *uplink_polls = port_polls + fabric_poll_fill(&fabric, port_polls);
		size_t uplink_count =
			uplink ? uplink_poll_fill(uplink, uplink_polls, &slirp_ms) : 0;

		int ready = poll(polls, (nfds_t)(uplink_polls - polls) + uplink_count,
				 wait_ms(slirp_ms, due, now));
		if (ready < 0 && errno != EINTR) {
			fprintf(stderr, "switch: poll: %s\n", strerror(errno));
			return EXIT_SYSTEM;
		}
		if (ready > 0 && polls[0].revents)
			return 0;
		if (ready > 0) {
			fabric_poll_done(&fabric, port_polls, now_ns());
			control_poll_done(&control, &fabric, polls + 1);
		}
		if (uplink)
			uplink_poll_done(uplink, ready < 0);
	}
}

int main(int argc, char **argv)
{
	struct options options;
	struct uplink *uplink;
	char path[PATH_MAX];
	int status = parse_options(argc, argv, &options);
	if (status)
		return status;
	int signals = watch_signals();
	if (signals < 0 || fabric_init(&fabric, options.seed) < 0) {
		fprintf(stderr, "switch: cannot start: %s\n", strerror(errno));
		return EXIT_SYSTEM;
	}
	status = add_ports(&options);
	if (!status)
		status = add_uplink(&options, &uplink);
	if (status)
		return status;
	snprintf(path, sizeof path, "%s/switch.ctl", options.dir);
	if (control_init(&control, path) < 0) {
		fprintf(stderr, "switch: cannot listen at %s: %s\n", path, strerror(errno));
		return EXIT_SYSTEM;
	}
	puts("ready");
	fflush(stdout);
	status = run(signals, uplink);
	uplink_free(uplink);
	return status;
}
