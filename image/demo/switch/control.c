#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "unix.h"

enum { WORDS_MAX = 5 };

struct request {
	struct fabric *fabric;
	FILE *out;
	char *words[WORDS_MAX];
	size_t count;
};

/* Error texts quote the user's words: nothing of them may break the JSON string. */
static void print_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
}

__attribute__((format(printf, 2, 3))) static bool refuse(const struct request *request,
							 const char *fmt, ...)
{
	char text[CONTROL_LINE_MAX * 2];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	fputs("{\"ok\": false, \"error\": \"", request->out);
	print_escaped(request->out, text);
	fputs("\"}\n", request->out);
	return false;
}

static bool find_port(const struct request *request, const char *name, size_t length, int *port)
{
	*port = fabric_find(request->fabric, name, length);
	if (*port >= 0)
		return true;
	return refuse(request, "no port \"%.*s\"", (int)length, name);
}

/* Reads LINK from words[1] up to words[end). */
static bool parse_link(const struct request *request, size_t end, struct link_choice *choice)
{
	*choice = (struct link_choice){.from = -1, .to = -1};
	if (end < 2 || end > 3)
		return refuse(request, "%s: expected a link: A B, A>B or A", request->words[0]);
	const char *first = request->words[1], *arrow = strchr(first, '>');
	if (arrow) {
		if (end != 2)
			return refuse(request, "%s: expected A>B alone, found more words",
				      request->words[0]);
		choice->one_way = true;
		if (!find_port(request, first, (size_t)(arrow - first), &choice->from) ||
		    !find_port(request, arrow + 1, strlen(arrow + 1), &choice->to))
			return false;
	} else {
		if (!find_port(request, first, strlen(first), &choice->from))
			return false;
		if (end == 3 &&
		    !find_port(request, request->words[2], strlen(request->words[2]), &choice->to))
			return false;
	}
	if (choice->from == choice->to)
		return refuse(request, "%s: a port has no link to itself", request->words[0]);
	return true;
}

static bool run_change(const struct request *request, enum link_change_kind kind)
{
	struct link_change change = {.kind = kind};
	struct link_choice choice = {.from = -1, .to = -1};
	size_t end = request->count;
	if (kind == LINK_DELAY || kind == LINK_LOSS) {
		if (request->count < 3)
			return refuse(request, "%s: expected a link and a value",
				      request->words[0]);
		const char *value = request->words[--end];
		if (kind == LINK_DELAY && !link_parse_delay(value, &change.value))
			return refuse(request,
				      "delay: found \"%s\", expected 0ms to 60s, such as 50ms",
				      value);
		if (kind == LINK_LOSS && !link_parse_loss(value, &change.value))
			return refuse(request,
				      "loss: found \"%s\", expected 0%% to 100%%, such as 10%%",
				      value);
	}
	if (!(kind == LINK_HEAL && end == 1) && !parse_link(request, end, &choice))
		return false;
	links_change(&request->fabric->links, choice, change);
	fputs("{\"ok\": true}\n", request->out);
	return true;
}

static bool run_status(const struct request *request)
{
	const struct fabric *fabric = request->fabric;
	const struct links *links = &fabric->links;
	const char *comma = "";
	if (request->count != 1)
		return refuse(request, "status: takes no argument");
	fputs("{\"ok\": true, \"ports\": [", request->out);
	for (size_t i = 0; i < links->ports; i++)
		fprintf(request->out, "%s{\"name\": \"%s\", \"connected\": %s}", i ? ", " : "",
			fabric->ports[i].name, fabric_connected(fabric, i) ? "true" : "false");
	fputs("], \"links\": [", request->out);
	for (size_t from = 0; from < links->ports; from++) {
		for (size_t to = 0; to < links->ports; to++) {
			const struct link *link = &links->from_to[from][to];
			if (link_is_whole(link))
				continue;
			fprintf(request->out,
				"%s{\"from\": \"%s\", \"to\": \"%s\", \"cut\": %s, \"delay_ms\": "
				"%" PRIu32 ", \"loss_percent\": %g}",
				comma, fabric->ports[from].name, fabric->ports[to].name,
				link->cut ? "true" : "false", link->delay_ms,
				link->loss * 100.0 / LOSS_ALL);
			comma = ", ";
		}
	}
	fputs("]}\n", request->out);
	return true;
}

static bool run_stats(const struct request *request)
{
	const struct fabric *fabric = request->fabric;
	if (request->count != 1)
		return refuse(request, "stats: takes no argument");
	fprintf(request->out, "{\"ok\": true, \"macs\": %zu, \"delayed\": %zu, \"ports\": [",
		fabric->macs_learnt, fabric->delayed_count);
	for (size_t i = 0; i < fabric->links.ports; i++) {
		const struct port *port = &fabric->ports[i];
		const struct port_stats *stats = &port->stats;
		fprintf(request->out, "%s{\"name\": \"%s\", \"queued\": %zu", i ? ", " : "",
			port->name, port->queue_count);
#define COUNTER(name) fprintf(request->out, ", \"" #name "\": %" PRIu64, stats->name)
		COUNTER(in_frames);
		COUNTER(in_bytes);
		COUNTER(out_frames);
		COUNTER(out_bytes);
		COUNTER(dropped_cut);
		COUNTER(dropped_loss);
		COUNTER(dropped_full);
		COUNTER(dropped_absent);
		COUNTER(bad_frames);
		COUNTER(connects);
#undef COUNTER
		fputc('}', request->out);
	}
	fputs("]}\n", request->out);
	return true;
}

static void run(struct request *request)
{
	const char *verb = request->words[0];
	if (request->count == 0)
		refuse(request, "empty command");
	else if (strcmp(verb, "cut") == 0)
		run_change(request, LINK_CUT);
	else if (strcmp(verb, "heal") == 0)
		run_change(request, LINK_HEAL);
	else if (strcmp(verb, "delay") == 0)
		run_change(request, LINK_DELAY);
	else if (strcmp(verb, "loss") == 0)
		run_change(request, LINK_LOSS);
	else if (strcmp(verb, "status") == 0)
		run_status(request);
	else if (strcmp(verb, "stats") == 0)
		run_stats(request);
	else
		refuse(request,
		       "no command \"%s\"; there are: cut, delay, heal, loss, stats, status", verb);
}

char *control_answer(struct fabric *fabric, char *line)
{
	char *answer = NULL, *rest = line;
	size_t bytes;
	struct request request = {.fabric = fabric, .out = open_memstream(&answer, &bytes)};
	if (!request.out)
		return NULL;
	for (char *word; (word = strsep(&rest, " \t\r"));) {
		if (!*word)
			continue;
		if (request.count == WORDS_MAX) {
			refuse(&request, "too many words");
			goto done;
		}
		request.words[request.count++] = word;
	}
	run(&request);
done:
	if (fclose(request.out) != 0) {
		free(answer);
		return NULL;
	}
	return answer;
}

int control_init(struct control *control, const char *path)
{
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		control->clients[i] = (struct control_client){.fd = -1};
	control->listener = unix_listen(path);
	return control->listener < 0 ? -1 : 0;
}

static void drop(struct control_client *client)
{
	close(client->fd);
	free(client->answer);
	*client = (struct control_client){.fd = -1};
}

static void send_answer(struct control_client *client)
{
	ssize_t sent =
		send(client->fd, client->answer + client->answer_sent,
		     client->answer_bytes - client->answer_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0) {
		if (errno != EAGAIN && errno != EINTR)
			drop(client);
		return;
	}
	client->answer_sent += (size_t)sent;
	if (client->answer_sent == client->answer_bytes) {
		free(client->answer);
		client->answer = NULL;
	}
}

static void answer_line(struct control_client *client, struct fabric *fabric, char *line)
{
	client->answer = control_answer(fabric, line);
	if (!client->answer) {
		drop(client);
		return;
	}
	client->answer_bytes = strlen(client->answer);
	client->answer_sent = 0;
	send_answer(client);
}

/* Answers the lines that are whole, one after the other, until an answer has to wait for its
 * reader. */
static void take_lines(struct control_client *client, struct fabric *fabric)
{
	char *end;
	while (client->fd >= 0 && !client->answer &&
	       (end = memchr(client->line, '\n', client->line_used))) {
		char line[CONTROL_LINE_MAX];
		size_t length = (size_t)(end - client->line);
		memcpy(line, client->line, length);
		line[length] = '\0';
		client->line_used -= length + 1;
		memmove(client->line, end + 1, client->line_used);
		/* A zero byte would hide the rest of the line. */
		if (memchr(line, '\0', length))
			strcpy(line, "\x01");
		answer_line(client, fabric, line);
	}
	if (client->fd >= 0 && !client->answer && client->line_used == CONTROL_LINE_MAX) {
		fprintf(stderr, "switch: a command line of more than %d bytes: client dropped\n",
			CONTROL_LINE_MAX);
		drop(client);
	}
}

static void read_client(struct control_client *client, struct fabric *fabric)
{
	ssize_t got = recv(client->fd, client->line + client->line_used,
			   CONTROL_LINE_MAX - client->line_used, MSG_DONTWAIT);
	if (got > 0) {
		client->line_used += (size_t)got;
		take_lines(client, fabric);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		drop(client);
	}
}

void control_poll_fill(struct control *control, struct pollfd *polls)
{
	bool room = false;
	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		const struct control_client *client = &control->clients[i];
		polls[i + 1] = (struct pollfd){.fd = client->fd,
					       .events = client->answer ? POLLOUT : POLLIN};
		room |= client->fd < 0;
	}
	polls[0] = (struct pollfd){.fd = room ? control->listener : -1, .events = POLLIN};
}

void control_poll_done(struct control *control, struct fabric *fabric, const struct pollfd *polls)
{
	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *client = &control->clients[i];
		if (client->fd < 0 || !polls[i + 1].revents)
			continue;
		if (!client->answer) {
			read_client(client, fabric);
			continue;
		}
		send_answer(client);
		if (client->fd >= 0 && !client->answer)
			take_lines(client, fabric);
	}
	if (!(polls[0].revents & POLLIN))
		return;
	int fd = accept4(control->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	for (size_t i = 0; fd >= 0 && i < CONTROL_CLIENTS; i++) {
		if (control->clients[i].fd < 0) {
			control->clients[i].fd = fd;
			return;
		}
	}
	if (fd >= 0)
		close(fd);
}
