/* Packets in and out of the one socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

#include "src/base/log.h"
#include "src/gossip/process.h"

#define PACKETS_A_TURN 64 /* then the clock and the channel get their turn */
/* The process may run before all others: packets shall not take the machine. */
#define BUDGET_MS      10
#define BUDGET_PACKETS 1024
#define UNHEARD_US     1000000u /* it may have another boot now */
#define FRESH_MS       1000u	/* as membership_timers.fresh_ms */

static void send_to(const struct sockaddr_in *address, struct peer *peer, const uint8_t *packet,
		    size_t bytes)
{
	ssize_t n = sendto(PROCESS_SOCKET_FD, packet, bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
			   (const struct sockaddr *)address, sizeof(*address));
	if (n < 0) {
		process.progress.dropped[GOSSIP_DROP_SEND]++;
		if (errno != peer->send_errno && errno != EAGAIN)
			log_warn("cannot send to %s", peer->node.name);
		peer->send_errno = errno;
		return;
	}
	peer->send_errno = 0;
	process.progress.packets_out++;
	process.progress.bytes_out += bytes;
}

static void send_hello(struct peer *peer, uint64_t now)
{
	uint8_t packet[SEAL_HANDSHAKE_BYTES];
	size_t bytes = seal_hello(&process.seal, &peer->seal, now, packet);
	if (bytes > 0)
		send_to(&peer->address, peer, packet, bytes);
}

void packets_send(const struct membership_action *action, uint64_t now)
{
	struct peer *peer = &process.now->peer[action->index];
	uint8_t content[WIRE_CONTENT_MAX_BYTES], packet[WIRE_PACKET_MAX_BYTES];
	static struct membership_heartbeat heartbeat;
	struct wire_timing timing; /* Asking is not only for the unknown: what a silent sibling asks
				    * after a reboot may be drowned in a flood, the answer to our
				    * question is not (seal.h). */
	bool silent = process.now->member[action->index].state != MEMBER_ALIVE &&
		      now - peer->seal.newest_us > UNHEARD_US;
	if (peer->seal.boot_id == 0 || peer->seal.stranger || silent)
		send_hello(peer, now);
	if (peer->seal.boot_id == 0)
		return;
	link_stamp(&peer->link, now, &timing);
	membership_fill(&process.membership, action, now / 1000, &heartbeat);
	uint8_t version =
		wire_common_version(WIRE_VERSION, process.now->member[action->index].version);
	size_t bytes = wire_put_heartbeat(content, &process.ids, version, &timing, &heartbeat);
	bytes = seal_heartbeat(&process.seal, &peer->seal, content, bytes, now, packet);
	if (bytes > 0)
		send_to(&peer->address, peer, packet, bytes);
}

static void drop(int reason)
{
	process.progress.dropped[reason]++;
}

static void on_heartbeat(uint16_t index, const struct seal_opened *opened, uint64_t now)
{
	struct peer *peer = &process.now->peer[index];
	static struct membership_heartbeat heartbeat;
	struct wire_timing timing;
	if (!wire_get_heartbeat(opened->content, opened->content_bytes, &process.ids, &timing,
				&heartbeat)) {
		drop(GOSSIP_DROP_CONTENT);
		return;
	}
	struct membership_event event = {
		.type = MEMBERSHIP_HEARTBEAT,
		.from = index,
		.boot_id = opened->header.sender_boot,
		.newest = opened->newest,
		.age_ms = link_take(&peer->link, &timing, opened->newest, now),
		.version = opened->header.version,
		.heartbeat = &heartbeat,
	};
	process_step(&event, now);
}

/* Far behind the newest one of its boot. Mostly seen before; but if it answers what we said just
 * now, then it was sent just now, by another clock than the newest. */
static void on_old(uint16_t index, const struct seal_opened *opened, uint64_t now)
{
	static struct membership_heartbeat heartbeat;
	struct wire_timing timing;
	if (!wire_get_heartbeat(opened->content, opened->content_bytes, &process.ids, &timing,
				&heartbeat) ||
	    timing.held_us == UINT32_MAX || ((uint32_t)now - timing.echo) / 1000 > FRESH_MS)
		return;
	seal_old_but_fresh(&process.now->peer[index].seal, now);
	report_conflicts(now);
}

static void from_sibling(uint16_t index, const uint8_t *packet, size_t bytes, uint64_t now)
{
	static struct seal_opened opened;
	struct peer *peer = &process.now->peer[index];
	int dropped = seal_open(&process.seal, &peer->seal, packet, bytes, now, &opened);
	if (dropped != 0) {
		drop(dropped - 1);
		if (dropped - 1 == GOSSIP_DROP_REPLAY && opened.old)
			on_old(index, &opened, now);
		return;
	}
	process.progress.packets_in++;
	process.progress.bytes_in += bytes;
	if (opened.reply_bytes > 0)
		send_to(&peer->address, peer, opened.reply, opened.reply_bytes);
	if (opened.accused)
		process.accused_us = now;
	if (opened.conflict || opened.accused) {
		report_conflicts(now);
		return;
	}
	if (opened.contact) {
		link_begin(&peer->link, now);
		struct membership_event event = {
			.type = MEMBERSHIP_CONTACT,
			.from = index,
			.boot_id = peer->seal.boot_id,
			.version = opened.header.version,
		};
		process_step(&event, now);
	}
	if (opened.header.type == WIRE_HEARTBEAT)
		on_heartbeat(index, &opened, now);
}

/* From an address that is no sibling's; whose name does it bear? */
static void from_elsewhere(const uint8_t *packet, size_t bytes, const struct sockaddr_in *from,
			   uint64_t now)
{
	static struct seal_opened opened;
	struct wire_header header;
	uint64_t elsewhere = (uint64_t)from->sin_addr.s_addr << 16 | from->sin_port;
	uint16_t index = 0;
	if (wire_get_header(packet, bytes, &header)) {
		while (index < process.ids.count && process.ids.id[index] != header.sender)
			index++;
	} else {
		index = process.ids.count;
	}
	struct peer *peer = &process.now->peer[index];
	if (index == process.ids.count || index == process.now->self.index ||
	    seal_open_elsewhere(&process.seal, &peer->seal, packet, bytes, elsewhere, now,
				&opened) != 0) {
		drop(GOSSIP_DROP_SOURCE);
		return;
	}
	if (opened.reply_bytes > 0)
		send_to(from, peer, opened.reply, opened.reply_bytes);
	if (opened.proven) {
		peer->elsewhere = from->sin_addr.s_addr;
		peer->elsewhere_us = now;
		report_conflicts(now);
	}
}

static void on_packet(const uint8_t *packet, size_t bytes, const struct sockaddr_in *from,
		      uint64_t now)
{
	uint16_t index = 0;
	while (index < process.ids.count &&
	       (process.now->peer[index].address.sin_addr.s_addr != from->sin_addr.s_addr ||
		process.now->peer[index].address.sin_port != from->sin_port))
		index++;
	if (index == process.ids.count)
		from_elsewhere(packet, bytes, from, now);
	else if (index == process.now->self.index)
		drop(GOSSIP_DROP_SOURCE);
	else
		from_sibling(index, packet, bytes, now);
}

bool packets_receive(void)
{
	uint64_t now_ms = process_now_us() / 1000;
	if (now_ms - process.budget_ms >= BUDGET_MS) {
		process.budget_ms = now_ms;
		process.budget_used = 0;
	}
	for (int n = 0; n < PACKETS_A_TURN; n++) {
		uint8_t packet[WIRE_PACKET_MAX_BYTES + 1]; /* longer ones are cut, and too long */
		struct sockaddr_in from = {0};
		socklen_t from_bytes = sizeof(from);
		if (process.budget_used == BUDGET_PACKETS)
			return false;
		ssize_t bytes = recvfrom(PROCESS_SOCKET_FD, packet, sizeof(packet), MSG_DONTWAIT,
					 (struct sockaddr *)&from, &from_bytes);
		if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return true;
		process.budget_used++;
		if (bytes < 0) /* an error that an earlier packet came back with */
			continue;
		if (!process.now || from_bytes != sizeof(from) || from.sin_family != AF_INET)
			drop(GOSSIP_DROP_SOURCE);
		else
			on_packet(packet, (size_t)bytes, &from, process_now_us());
	}
	return true;
}

/*
 * Classic BPF over the UDP header (8 bytes) and the packet. What is not a HELLO must name our boot
 * id, which nobody knows who does not see our packets: a flood by others costs the kernel a few
 * instructions a packet, and takes no place in the socket's buffer.
 */
void packets_filter(uint64_t boot_id)
{
	enum { UDP = 8, ACCEPT = 8, DROP = 9 };
#define GO(at, target) (uint8_t)((target) - (at)-1)
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, UDP),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, WIRE_MAGIC, 0, GO(1, DROP)),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, UDP + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, WIRE_HELLO, GO(3, ACCEPT), 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP + 24),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(boot_id >> 32), 0, GO(5, DROP)),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP + 28),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)boot_id, 0, GO(7, DROP)),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (process.filtered)
		return;
	process.filtered = true;
	if (setsockopt(PROCESS_SOCKET_FD, SOL_SOCKET, SO_ATTACH_FILTER, &program,
		       sizeof(program)) != 0)
		log_warn("the kernel does not filter packets for us");
}
