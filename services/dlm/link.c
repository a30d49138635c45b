#include "services/dlm/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/base/log.h"

static const uint8_t key_context[] = "supervisor dlm link 1";

/* The pair's key: the same at both ends, of use for nothing else. */
static int derive_key(uint8_t key[32], const uint8_t secret_key[KEY_BYTES],
		      const uint8_t peer_key[KEY_BYTES])
{
	uint8_t shared[crypto_box_BEFORENMBYTES];

	if (crypto_box_beforenm(shared, peer_key, secret_key) != 0)
		return -1;
	crypto_generichash(key, 32, key_context, sizeof(key_context), shared, sizeof(shared));
	sodium_memzero(shared, sizeof(shared));
	return 0;
}

static struct sockaddr_in address_of(const struct cluster_node *node, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr = node->address.address, .sin_port = htons(port)};
}

static int open_listener(struct link *link)
{
	const struct sockaddr_in address = address_of(link->self, WIRE_PORT);
	const int on = 1;

	link->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->listen_fd < 0)
		return -1;
	setsockopt(link->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(link->listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return listen(link->listen_fd, 4);
}

int link_open(struct link *link, const struct cluster_node *self, const struct cluster_node *peer,
	      const uint8_t secret_key[KEY_BYTES], const uint8_t boot[WIRE_BOOT_BYTES])
{
	*link = (struct link){.self = self, .peer = peer, .listen_fd = -1, .fd = -1};
	link->listens = self->id < peer->id;
	memcpy(link->boot, boot, WIRE_BOOT_BYTES);
	if (sodium_init() < 0)
		return -1;
	for (; link->key_count < peer->key_count; link->key_count++) {
		if (derive_key(link->key[link->key_count], secret_key,
			       peer->key[link->key_count]) == 0)
			continue;
		log_warnx("the key of node %s in cluster.conf is not usable", peer->name);
		return -1;
	}
	if (link->key_count == 0) {
		log_warnx("node %s has no key in cluster.conf", peer->name);
		return -1;
	}
	if (link->listens && open_listener(link) < 0) {
		log_warn("listen on %s, TCP port %d", self->name, WIRE_PORT);
		return -1;
	}
	return 0;
}

static void say_once(struct link *link, const char *what, int error)
{
	char text[sizeof(link->last_error)];

	snprintf(text, sizeof(text), "%s%s%s", what, error ? ": " : "",
		 error ? strerror(error) : "");
	if (strcmp(text, link->last_error) == 0)
		return;
	memcpy(link->last_error, text, sizeof(text));
	log_warnx("connection with %s: %s", link->peer->name, text);
}

static void drop(struct link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	if (link->state == LINK_UP)
		link->lost = true;
	link->fd = -1;
	link->state = LINK_IDLE;
	link->greeted = false;
	link->used = 0;
	link->deadline_ms = 0;
}

void link_break(struct link *link, const char *why)
{
	if (link->fd >= 0)
		say_once(link, why, 0);
	drop(link);
}

static void sign(const struct link *link, size_t key, uint8_t bytes[WIRE_BYTES],
		 uint8_t mac[WIRE_MAC_BYTES])
{
	crypto_generichash(mac, WIRE_MAC_BYTES, bytes, WIRE_BYTES - WIRE_MAC_BYTES, link->key[key],
			   sizeof(link->key[key]));
}

/* While the peer's key is changed it may have signed with either; we answer with the same. */
static bool is_genuine(struct link *link)
{
	uint8_t mac[WIRE_MAC_BYTES];

	for (size_t key = 0; key < link->key_count; key++) {
		sign(link, key, link->buffer, mac);
		if (sodium_memcmp(mac, link->buffer + WIRE_BYTES - WIRE_MAC_BYTES, sizeof(mac)) !=
		    0)
			continue;
		link->key_at = key;
		link->key_good = true;
		return true;
	}
	return false;
}

static void send_message(struct link *link, struct wire_message *message)
{
	uint8_t bytes[WIRE_BYTES];

	message->from = link->self->id;
	memcpy(message->boot, link->boot, WIRE_BOOT_BYTES);
	memcpy(message->nonce, link->nonce, WIRE_NONCE_BYTES);
	if (message->kind != WIRE_HELLO)
		memcpy(message->echo, link->peer_nonce, WIRE_NONCE_BYTES);
	message->sequence = link->sent++;
	wire_encode(bytes, message);
	sign(link, link->key_at, bytes, bytes + WIRE_BYTES - WIRE_MAC_BYTES);
	ssize_t n = send(link->fd, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n == (ssize_t)sizeof(bytes))
		return;
	say_once(link, "send", n < 0 ? errno : ENOBUFS);
	drop(link);
}

void link_show(struct link *link, const char *lockspace, const struct view_machine *machine)
{
	struct wire_message message = {.kind = WIRE_VIEW,
				       .view = machine->view,
				       .want = machine->want,
				       .halted = view_is_halted(machine)};

	if (link->state != LINK_UP)
		return;
	snprintf(message.lockspace, sizeof(message.lockspace), "%s", lockspace);
	send_message(link, &message);
}

/* A fresh connection, on either side: greet. */
static void greet(struct link *link, uint64_t now_ms)
{
	const int on = 1, seconds = 1, probes = LINK_LOST_MS / 1000, lost_ms = LINK_LOST_MS;
	struct wire_message hello = {.kind = WIRE_HELLO};

	setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
	setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
	setsockopt(link->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(link->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lost_ms, sizeof(lost_ms));
	link->state = LINK_GREETING;
	link->deadline_ms = now_ms + LINK_GREETING_MS;
	link->sent = link->received = 0;
	/* Nothing from the peer was readable last time: perhaps neither was our greeting. */
	if (!link->key_good)
		link->key_at = (link->key_at + 1) % link->key_count;
	link->key_good = false;
	randombytes_buf(link->nonce, sizeof(link->nonce));
	send_message(link, &hello);
}

static void start_connect(struct link *link, uint64_t now_ms)
{
	struct sockaddr_in from = address_of(link->self, 0), to = address_of(link->peer, WIRE_PORT);

	link->deadline_ms = now_ms + LINK_RETRY_MS;
	link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->fd < 0 || bind(link->fd, (struct sockaddr *)&from, sizeof(from)) < 0) {
		say_once(link, "bind to this node's address", errno);
		if (link->fd >= 0)
			close(link->fd);
		link->fd = -1;
		return;
	}
	link->state = LINK_CONNECTING;
	link->deadline_ms = now_ms + LINK_GREETING_MS;
	if (connect(link->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		say_once(link, "connect", errno);
		drop(link);
		link->deadline_ms = now_ms + LINK_RETRY_MS;
	}
}

static void finish_connect(struct link *link, uint64_t now_ms)
{
	struct pollfd poll_fd = {.fd = link->fd, .events = POLLOUT};
	int error = 0;
	socklen_t error_bytes = sizeof(error);

	if (poll(&poll_fd, 1, 0) <= 0)
		return;
	getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes);
	if (error == 0) {
		greet(link, now_ms);
		return;
	}
	say_once(link, "connect", error);
	drop(link);
	link->deadline_ms = now_ms + LINK_RETRY_MS;
}

/* The newest connection from the peer's address is the one. */
static void accept_peer(struct link *link, uint64_t now_ms)
{
	struct sockaddr_in from = {0};
	socklen_t from_bytes = sizeof(from);
	int fd = accept4(link->listen_fd, (struct sockaddr *)&from, &from_bytes,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (from.sin_addr.s_addr != link->peer->address.address.s_addr) {
		say_once(link, "refused a connection from another address", 0);
		close(fd);
		return;
	}
	drop(link);
	link->fd = fd;
	greet(link, now_ms);
}

/* One whole message from the connection. False: none yet, or the connection was dropped. */
static bool receive(struct link *link, struct wire_message *message)
{
	ssize_t n =
		recv(link->fd, link->buffer + link->used, WIRE_BYTES - link->used, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		say_once(link, n == 0 ? "closed by the peer" : "receive", n == 0 ? 0 : errno);
		drop(link);
		return false;
	}
	link->used += (size_t)n;
	if (link->used < WIRE_BYTES)
		return false;
	link->used = 0;
	const bool genuine = is_genuine(link);
	if (!genuine || !wire_decode(message, link->buffer) || message->from != link->peer->id ||
	    message->sequence != link->received++) {
		link_break(link, genuine ? "an unexpected message" : "a message with a wrong key");
		return false;
	}
	return true;
}

static enum link_event take(struct link *link, const struct wire_message *message)
{
	const bool echoes = memcmp(message->echo, link->nonce, WIRE_NONCE_BYTES) == 0;

	if (message->kind == WIRE_HELLO && !link->greeted) {
		struct wire_message confirm = {.kind = WIRE_CONFIRM};
		memcpy(link->peer_boot, message->boot, WIRE_BOOT_BYTES);
		memcpy(link->peer_nonce, message->nonce, WIRE_NONCE_BYTES);
		link->greeted = true;
		send_message(link, &confirm);
		return LINK_NOTHING;
	}
	if (link->greeted && echoes &&
	    memcmp(message->boot, link->peer_boot, WIRE_BOOT_BYTES) == 0 &&
	    memcmp(message->nonce, link->peer_nonce, WIRE_NONCE_BYTES) == 0) {
		if (message->kind == WIRE_CONFIRM && link->state == LINK_GREETING) {
			link->state = LINK_UP;
			link->deadline_ms = 0;
			link->last_error[0] = '\0';
			return LINK_CONFIRMED;
		}
		if (message->kind == WIRE_VIEW && link->state == LINK_UP)
			return LINK_VIEW;
	}
	link_break(link, "a message out of order");
	return LINK_NOTHING;
}

enum link_event link_step(struct link *link, uint64_t now_ms, struct wire_message *message)
{
	if (link->listens)
		accept_peer(link, now_ms);
	else if (link->state == LINK_IDLE && now_ms >= link->deadline_ms)
		start_connect(link, now_ms);
	/* The end of the old connection comes before any word of the new one. */
	if (link->lost) {
		link->lost = false;
		return LINK_LOST;
	}
	if (link->state == LINK_CONNECTING)
		finish_connect(link, now_ms);
	while ((link->state == LINK_GREETING || link->state == LINK_UP) && receive(link, message)) {
		enum link_event event = take(link, message);
		if (event != LINK_NOTHING)
			return event;
	}
	if ((link->state == LINK_GREETING || link->state == LINK_CONNECTING) &&
	    now_ms >= link->deadline_ms)
		link_break(link, "no answer");
	if (link->state == LINK_IDLE && link->deadline_ms == 0)
		link->deadline_ms = now_ms + LINK_RETRY_MS;
	if (link->lost) {
		link->lost = false;
		return LINK_LOST;
	}
	return LINK_NOTHING;
}

size_t link_poll(const struct link *link, struct pollfd fds[LINK_POLL_FDS], uint64_t now_ms,
		 int *timeout_ms)
{
	size_t count = 0;
	const bool waits = link->state == LINK_UP || (link->state == LINK_IDLE && link->listens);

	if (link->listen_fd >= 0)
		fds[count++] = (struct pollfd){.fd = link->listen_fd, .events = POLLIN};
	if (link->fd >= 0)
		fds[count++] = (struct pollfd){.fd = link->fd,
					       .events = link->state == LINK_CONNECTING ? POLLOUT
											: POLLIN};
	*timeout_ms = -1;
	if (!waits)
		*timeout_ms = link->deadline_ms > now_ms ? (int)(link->deadline_ms - now_ms) : 0;
	return count;
}

void link_close(struct link *link)
{
	drop(link);
	if (link->listen_fd >= 0)
		close(link->listen_fd);
	link->listen_fd = -1;
	sodium_memzero(link->key, sizeof(link->key));
}
