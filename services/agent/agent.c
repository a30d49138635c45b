/*
 * One process a port. Its loop tries everything that could go on (take requests, pass on output,
 * notice the command's end) until nothing does, then waits for any edge. Edges, because a port
 * without a client reports POLLHUP all the time: a level-triggered wait would spin until the host
 * comes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "services/agent/agent.h"
#include "src/base/log.h"
#include "src/worker/worker.h"

enum { TERMINATION_MS = 2000, HANG_UP_MS = 1000, PORT_CLASS_PATH_MAX = 64 };

enum { STREAM_OUT, STREAM_ERR, STREAMS };

struct port {
	int fd, epoll, signals;
	uint8_t session[8];

	/* Room for half a request that was left behind, and a whole one after it. */
	uint8_t request[2 * (AGENT_HEADER + AGENT_REQUEST_MAX)];
	size_t request_used;
	uint8_t answer[AGENT_HEADER + AGENT_ANSWER_MAX];
	size_t answer_bytes, answer_sent;

	int64_t abandon_at_ms; /* the port is hung up; 0: it is not, or nobody waits */
	bool busy;	       /* a request is being answered */
	bool ending;	       /* its last frame is in `answer` */
	pid_t child;	       /* 0: none, or its end is known */
	int pidfd;
	int streams[STREAMS]; /* -1: at its end */
	size_t file_left;     /* READ: bytes that may still be sent; a command: any number */
	uint8_t exit_code;
};

static void watch(const struct port *port, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLET};
	if (epoll_ctl(port->epoll, EPOLL_CTL_ADD, fd, &event) < 0 &&
	    errno != EPERM) /* EPERM: a plain file */
		log_warn("cannot watch descriptor %d", fd);
}

static void put_frame(struct port *port, enum agent_type type, size_t length)
{
	struct agent_header header = {.type = (uint8_t)type, .length = (uint32_t)length};
	memcpy(header.session, port->session, sizeof header.session);
	agent_put_header(port->answer, &header);
	port->answer_bytes = AGENT_HEADER + length;
	port->answer_sent = 0;
}

__attribute__((format(printf, 2, 3))) static void refuse(struct port *port, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int length = vsnprintf((char *)port->answer + AGENT_HEADER, AGENT_ANSWER_MAX, fmt, args);
	va_end(args);
	put_frame(port, AGENT_REFUSED,
		  length < AGENT_ANSWER_MAX ? (size_t)length : AGENT_ANSWER_MAX - 1);
	port->busy = port->ending = true;
}

static void finish(struct port *port, uint8_t exit_code)
{
	port->answer[AGENT_HEADER] = exit_code;
	put_frame(port, AGENT_EXIT, 1);
	port->ending = true;
}

static void close_streams(struct port *port)
{
	for (int i = 0; i < STREAMS; i++) {
		if (port->streams[i] >= 0)
			close(port->streams[i]);
		port->streams[i] = -1;
	}
}

/* The client is gone or another came: what runs for it ends, what was to be said is forgotten. */
static void abandon(struct port *port)
{
	if (port->child > 0) {
		kill(port->child, SIGTERM);
		struct epoll_event event;
		int gone = epoll_create1(EPOLL_CLOEXEC);
		struct epoll_event wanted = {.events = EPOLLIN};
		if (gone < 0 || epoll_ctl(gone, EPOLL_CTL_ADD, port->pidfd, &wanted) < 0 ||
		    epoll_wait(gone, &event, 1, TERMINATION_MS) < 1)
			kill(port->child, SIGKILL);
		if (gone >= 0)
			close(gone);
		while (waitpid(port->child, NULL, 0) < 0 && errno == EINTR)
			;
		close(port->pidfd);
	}
	port->child = 0;
	close_streams(port);
	port->busy = port->ending = false;
	port->answer_bytes = port->answer_sent = 0;
}

_Noreturn static void become(char *const argv[], const int pipes[STREAMS][2])
{
	/* The client's end is ours too, even if this process is killed. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(pipes[STREAM_OUT][1], 1) < 0 ||
	    dup2(pipes[STREAM_ERR][1], 2) < 0)
		_exit(111);
	signal(SIGPIPE, SIG_DFL);
	execv("/proc/self/exe", argv);
	log_warn("cannot run /proc/self/exe");
	_exit(111);
}

/* Splits the payload into argv after "supervisor". False with the request refused. */
static bool parse_arguments(struct port *port, char *payload, size_t length,
			    char *argv[AGENT_ARGS_MAX + 2])
{
	size_t count = 0;
	argv[count++] = "supervisor";
	if (length == 0 || payload[length - 1] != '\0') {
		refuse(port, "arguments: expected each to end in a zero byte");
		return false;
	}
	for (size_t at = 0; at < length; at += strlen(payload + at) + 1) {
		if (count == AGENT_ARGS_MAX + 1) {
			refuse(port, "arguments: found more than %d", AGENT_ARGS_MAX);
			return false;
		}
		argv[count++] = payload + at;
	}
	argv[count] = NULL;
	/* Options in first place would make it a second supervising process. */
	if (argv[1][0] == '-') {
		refuse(port, "arguments: expected a command first, found \"%s\"", argv[1]);
		return false;
	}
	return true;
}

static void start_command(struct port *port, char *payload, size_t length)
{
	char *argv[AGENT_ARGS_MAX + 2];
	int pipes[STREAMS][2] = {{-1, -1}, {-1, -1}};
	if (!parse_arguments(port, payload, length, argv))
		return;
	pid_t child = -1;
	if (pipe2(pipes[STREAM_OUT], O_CLOEXEC) == 0 && pipe2(pipes[STREAM_ERR], O_CLOEXEC) == 0)
		child = fork();
	if (child == 0)
		become(argv, (const int(*)[2])pipes);
	int error = errno;
	for (int i = 0; i < STREAMS; i++)
		if (pipes[i][1] >= 0)
			close(pipes[i][1]);
	if (child > 0) {
		port->pidfd = (int)syscall(SYS_pidfd_open, child, 0);
		if (port->pidfd >= 0) {
			port->child = child;
			port->busy = true;
			port->file_left = SIZE_MAX;
			watch(port, port->pidfd, EPOLLIN);
			for (int i = 0; i < STREAMS; i++) {
				port->streams[i] = pipes[i][0];
				fcntl(pipes[i][0], F_SETFL, O_NONBLOCK);
				watch(port, pipes[i][0], EPOLLIN);
			}
			return;
		}
		error = errno;
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	for (int i = 0; i < STREAMS; i++)
		if (pipes[i][0] >= 0)
			close(pipes[i][0]);
	refuse(port, "cannot start a process: %s", strerror(error));
}

static void start_reading(struct port *port, const char *path)
{
	struct stat info;
	if (path[0] != '/') {
		refuse(port, "read: expected an absolute path, found \"%s\"", path);
		return;
	}
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &info) < 0) {
		refuse(port, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	if (!S_ISREG(info.st_mode) || info.st_size > AGENT_FILE_MAX) {
		refuse(port, "%s: not a plain file of at most %d bytes", path, AGENT_FILE_MAX);
		close(fd);
		return;
	}
	port->streams[STREAM_OUT] = fd;
	port->file_left = AGENT_FILE_MAX;
	port->busy = true;
	port->exit_code = 0;
}

static void send_signal(struct port *port, const char *text)
{
	int pid, number, end = 0;
	if (sscanf(text, "%d %d%n", &pid, &number, &end) != 2 || text[end] || pid < 2 ||
	    number < 0 || number >= NSIG) {
		refuse(port, "signal: expected PID NUMBER, found \"%s\"", text);
		return;
	}
	if (kill(pid, number) < 0) {
		refuse(port, "signal %d to process %d: %s", number, pid, strerror(errno));
		return;
	}
	port->busy = true;
	finish(port, 0);
}

static void start_request(struct port *port, const struct agent_header *header, char *payload)
{
	if (memcmp(port->session, header->session, sizeof port->session) != 0) {
		abandon(port);
		memcpy(port->session, header->session, sizeof port->session);
	} else if (port->busy) {
		abandon(port);
		refuse(port, "a second request before the answer to the first");
		return;
	}
	/* parse_arguments looks for zero bytes itself; the others take text. */
	if (header->type != AGENT_RUN && memchr(payload, '\0', header->length)) {
		refuse(port, "request: found a zero byte");
		return;
	}
	char text[AGENT_REQUEST_MAX + 1];
	memcpy(text, payload, header->length);
	text[header->length] = '\0';
	if (header->type == AGENT_RUN)
		start_command(port, text, header->length);
	else if (header->type == AGENT_READ)
		start_reading(port, text);
	else
		send_signal(port, text);
}

/* Returns whether a request was taken out of what has come in. */
static bool take_request(struct port *port)
{
	struct agent_header header;
	size_t skip;
	int found = agent_find_request(port->request, port->request_used, &skip, &header);
	if (skip > 0) {
		port->request_used -= skip;
		memmove(port->request, port->request + skip, port->request_used);
	}
	if (!found)
		return false;
	start_request(port, &header, (char *)port->request + AGENT_HEADER);
	size_t whole = AGENT_HEADER + header.length;
	port->request_used -= whole;
	memmove(port->request, port->request + whole, port->request_used);
	return true;
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * read(2) gives 0 while no client is connected and EAGAIN while a silent one is. But the driver
 * takes bytes and the news of clients from different queues: a request may be here before the news
 * that the client before it went and that its own came. So a hang-up counts only when it lasts.
 */
static bool read_port(struct port *port)
{
	ssize_t got = read(port->fd, port->request + port->request_used,
			   sizeof port->request - port->request_used);
	if (got > 0) {
		port->request_used += (size_t)got;
		while (take_request(port))
			;
		return true;
	}
	if (got < 0 && errno == EAGAIN)
		port->abandon_at_ms = 0;
	if (got == 0 && port->busy && port->abandon_at_ms == 0)
		port->abandon_at_ms = now_ms() + HANG_UP_MS;
	if (port->abandon_at_ms && port->abandon_at_ms <= now_ms()) {
		abandon(port);
		port->abandon_at_ms = 0;
	}
	return false;
}

/* For epoll_wait. */
static int time_left_ms(const struct port *port)
{
	if (port->abandon_at_ms == 0)
		return -1;
	int64_t left = port->abandon_at_ms - now_ms();
	return left > 0 ? (int)left : 0;
}

static bool send_answer(struct port *port)
{
	if (port->answer_sent == port->answer_bytes)
		return false;
	ssize_t sent = write(port->fd, port->answer + port->answer_sent,
			     port->answer_bytes - port->answer_sent);
	if (sent <= 0)
		return false;
	port->answer_sent += (size_t)sent;
	if (port->answer_sent == port->answer_bytes && port->ending)
		port->busy = port->ending = false;
	return true;
}

static bool read_stream(struct port *port, int which)
{
	int fd = port->streams[which];
	if (fd < 0)
		return false;
	ssize_t got = read(fd, port->answer + AGENT_HEADER, AGENT_ANSWER_MAX);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got > 0 && (size_t)got > port->file_left)
		got = -1;
	if (got <= 0) {
		close(fd);
		port->streams[which] = -1;
		if (got < 0)
			port->exit_code = 1;
		return true;
	}
	port->file_left -= (size_t)got;
	put_frame(port, which == STREAM_OUT ? AGENT_STDOUT : AGENT_STDERR, (size_t)got);
	return true;
}

static void collect_child(struct port *port)
{
	int status;
	if (port->child == 0 || waitpid(port->child, &status, WNOHANG) != port->child)
		return;
	port->exit_code =
		(uint8_t)(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	close(port->pidfd);
	port->child = 0;
}

/* One step of the answer in progress. False: nothing can be done now. */
static bool go_on(struct port *port)
{
	if (send_answer(port))
		return true;
	if (!port->busy || port->ending || port->answer_sent < port->answer_bytes)
		return false;
	/* First whether it has ended, then what it wrote: so nothing written before the end is
	 * missed, and a pipe that a grandchild keeps open delays nothing. */
	collect_child(port);
	if (read_stream(port, STREAM_OUT) || read_stream(port, STREAM_ERR))
		return true;
	if (port->child)
		return false;
	close_streams(port);
	finish(port, port->exit_code);
	return true;
}

/* Who asked would wait for ever: the port stays open on the host's side whatever becomes of us. */
static void say_goodbye(struct port *port)
{
	bool was_busy = port->busy && !port->ending;
	while (send_answer(port))
		;
	abandon(port);
	if (was_busy) {
		refuse(port, "the agent was told to end");
		send_answer(port);
	}
}

static int watch_termination(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int serve(const char *path)
{
	static struct port port;
	struct epoll_event event;
	struct signalfd_siginfo told;
	port.streams[0] = port.streams[1] = -1;
	port.epoll = epoll_create1(EPOLL_CLOEXEC);
	port.signals = watch_termination();
	port.fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port.epoll < 0 || port.signals < 0 || port.fd < 0) {
		log_warn("cannot open %s", path);
		return 1;
	}
	watch(&port, port.fd, EPOLLIN | EPOLLOUT);
	watch(&port, port.signals, EPOLLIN);
	for (;;) {
		while (read_port(&port) || go_on(&port))
			;
		if (read(port.signals, &told, sizeof told) == sizeof told) {
			say_goodbye(&port);
			return 0;
		}
		if (epoll_wait(port.epoll, &event, 1, time_left_ms(&port)) < 0 && errno != EINTR) {
			log_warn("cannot wait for %s", path);
			return 1;
		}
	}
}

/* Device nodes of the ports that are ours. */
static size_t find_ports(char paths[AGENT_PORTS_MAX][PORT_CLASS_PATH_MAX])
{
	static const char class[] = "/sys/class/virtio-ports";
	size_t count = 0;
	DIR *dir = opendir(class);
	if (!dir)
		return 0;
	for (struct dirent *entry; count < AGENT_PORTS_MAX && (entry = readdir(dir));) {
		char path[sizeof class + NAME_MAX + 8], name[64] = "";
		if (entry->d_name[0] == '.' || strlen(entry->d_name) > 32)
			continue;
		snprintf(path, sizeof path, "%s/%s/name", class, entry->d_name);
		FILE *file = fopen(path, "re");
		if (!file)
			continue;
		if (!fgets(name, sizeof name, file))
			name[0] = '\0';
		fclose(file);
		name[strcspn(name, "\n")] = '\0';
		size_t stem = strlen(AGENT_PORT_NAME);
		if (strncmp(name, AGENT_PORT_NAME, stem) == 0 &&
		    (name[stem] == '\0' || name[stem] == '.'))
			snprintf(paths[count++], PORT_CLASS_PATH_MAX, "/dev/%.32s", entry->d_name);
	}
	closedir(dir);
	return count;
}

int agent_worker(int argc, char **argv)
{
	char paths[AGENT_PORTS_MAX][PORT_CLASS_PATH_MAX];
	if (argc != 1) {
		log_warnx("takes no argument, found \"%s\"", argv[1]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	size_t count = find_ports(paths);
	if (count == 0) {
		log_info("no virtio-serial port \"%s\": the host has no way in", AGENT_PORT_NAME);
		worker_ready();
		return 0;
	}
	pid_t others[AGENT_PORTS_MAX] = {0};
	for (size_t i = 1; i < count; i++) {
		others[i] = fork();
		if (others[i] < 0)
			log_warn("cannot start a process for %s", paths[i]);
		if (others[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			_exit(serve(paths[i]));
		}
	}
	worker_ready();
	int status = serve(paths[0]);
	/* With our end the others are killed: first let them say goodbye, too. */
	for (size_t i = 1; i < count; i++)
		if (others[i] > 0)
			kill(others[i], SIGTERM);
	for (size_t i = 1; i < count; i++)
		if (others[i] > 0)
			waitpid(others[i], NULL, 0);
	return status;
}
