#include "src/supervise/gossip_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "src/base/log.h"
#include "src/supervise/instance.h"

static struct gossip_view view;
static struct {
	struct config *config; /* ours, holds view.cluster; NULL: that is of sv->config */
	uint64_t sequence;     /* of the last change that the present process told of */
	uint64_t asked;	       /* serial of the last question */
	void (*news)(void);
	struct pulse pulse;
} own;

const struct gossip_view *gossip_view(void)
{
	return &view;
}

void gossip_link_on_news(void (*news)(void))
{
	own.news = news;
}

static struct instance *process_of(const struct supervisor *sv)
{
	struct instance *gossip = sv->gossip < 0 ? NULL : sv->instance[sv->gossip];

	return gossip && gossip->channel.fd >= 0 ? gossip : NULL;
}

static bool tell(struct supervisor *sv, const struct gossip_message *message)
{
	struct instance *gossip = process_of(sv);

	if (!gossip)
		return false;
	if (send(gossip->channel.fd, message, sizeof(*message), MSG_NOSIGNAL) ==
	    (ssize_t)sizeof(*message))
		return true;
	/* EPIPE: it has just ended, and its exit follows. EAGAIN: it does not read; what it has to
	 * know is told again. */
	if (errno != EPIPE && errno != EAGAIN)
		log_warn("tell the gossip process");
	return false;
}

/* ---- what it says ---- */

const char *gossip_link_alarm(size_t index, char text[GOSSIP_ALARM_BYTES])
{
	const struct gossip_member *said = &view.member[index].said;
	const char *name = view.cluster->node[index].name;
	struct in_addr elsewhere = {.s_addr = said->elsewhere};
	char address[INET_ADDRSTRLEN] = "";

	text[0] = '\0';
	inet_ntop(AF_INET, &elsewhere, address, sizeof(address));
	if (said->conflict == GOSSIP_CONFLICT_TWINS)
		snprintf(text, GOSSIP_ALARM_BYTES,
			 "two machines speak as %s: neither is believed until one is gone", name);
	else if (said->conflict == GOSSIP_CONFLICT_CLONES)
		snprintf(text, GOSSIP_ALARM_BYTES,
			 "%s was copied while it ran, or set back: reboot it", name);
	else if (said->conflict == GOSSIP_CONFLICT_ELSEWHERE)
		snprintf(text, GOSSIP_ALARM_BYTES,
			 "a machine at %s has the key of %s, and is not believed", address, name);
	return text;
}

static bool same_statement(const struct gossip_member *a, const struct gossip_member *b)
{
	return a->ready == b->ready && a->boot_id == b->boot_id && a->services == b->services &&
	       a->services_ready == b->services_ready && a->services_failed == b->services_failed &&
	       a->tags_bytes == b->tags_bytes && memcmp(a->tags, b->tags, sizeof(a->tags)) == 0;
}

/* A new process tells how things are, not what happened while there was none. */
static uint8_t change_between(const struct gossip_member *before, const struct gossip_member *now)
{
	if (now->conflict != before->conflict)
		return GOSSIP_CHANGE_CONFLICT;
	if (now->state == before->state && now->state == GOSSIP_ALIVE &&
	    now->boot_id != before->boot_id)
		return GOSSIP_CHANGE_JOINED;
	if (now->state == before->state)
		return same_statement(before, now) ? GOSSIP_CHANGE_NUMBERS : GOSSIP_CHANGE_UPDATED;
	switch (now->state) {
	case GOSSIP_ALIVE:
		return before->state == GOSSIP_SUSPECT ? GOSSIP_CHANGE_ALIVE : GOSSIP_CHANGE_JOINED;
	case GOSSIP_SUSPECT:
		return GOSSIP_CHANGE_SUSPECT;
	case GOSSIP_DEAD:
		return GOSSIP_CHANGE_DEAD;
	case GOSSIP_LEFT_STATE:
		return GOSSIP_CHANGE_LEFT;
	default:
		return GOSSIP_CHANGE_NUMBERS;
	}
}

static void add_event(uint8_t change, const struct gossip_member *said, uint64_t missed)
{
	view.event[view.next_event % GOSSIP_EVENTS] = (struct gossip_event){
		.change = change, .said = *said, .at_ms = loop_now_ms(), .missed = missed};
	view.next_event++;
	if (view.next_event - view.first_event > GOSSIP_EVENTS)
		view.first_event = view.next_event - GOSSIP_EVENTS;
	if (own.news)
		own.news();
}

/* For people, on the console. */
static void say(const struct gossip_member *before, const struct gossip_member *said)
{
	char alarm[GOSSIP_ALARM_BYTES];
	const char *name = view.cluster->node[said->index].name;

	if (before->state != said->state)
		log_info("%s: %s is %s", view.self->name, name, gossip_state_name(said->state));
	if (before->conflict == said->conflict)
		return;
	gossip_link_alarm(said->index, alarm);
	if (alarm[0])
		log_warnx("ALARM: %s", alarm);
	else
		log_info("%s: the conflict about %s is over", view.self->name, name);
}

static void on_member(const struct gossip_member *message)
{
	struct gossip_member said = *message;
	uint64_t missed = 0;

	if (said.index >= view.cluster->node_count)
		return;
	const struct gossip_member before = view.member[said.index].said;
	if (said.sequence != 0) {
		missed = said.sequence - own.sequence - 1;
		own.sequence = said.sequence;
	} else {
		said.change = change_between(&before, &said);
	}
	if (said.state != before.state || !view.member[said.index].known)
		view.member[said.index].since_ms = loop_now_ms();
	view.member[said.index].known = said.state != GOSSIP_UNKNOWN;
	view.member[said.index].said = said;
	if (before.boot_id != 0 || before.conflict != said.conflict)
		say(&before, &said);
	if (said.change != GOSSIP_CHANGE_NUMBERS || missed > 0)
		add_event(said.change, &said, missed);
}

static bool in_order(const struct gossip_message *message)
{
	switch (message->type) {
	case GOSSIP_MEMBER:
		return message->member.sequence == 0 || message->member.sequence > own.sequence;
	case GOSSIP_PEER:
		return view.answered != own.asked;
	case GOSSIP_PROGRESS:
		return message->progress.serial == 0 ||
		       (message->progress.serial == own.asked && view.answered != own.asked);
	default:
		return true;
	}
}

static void received(const struct gossip_message *message)
{
	switch (message->type) {
	case GOSSIP_MEMBER:
		on_member(&message->member);
		break;
	case GOSSIP_PEER:
		if (message->peer.index < view.cluster->node_count)
			view.member[message->peer.index].peer = message->peer;
		break;
	case GOSSIP_PROGRESS:
		if (message->progress.serial == 0) {
			pulse_answered(&own.pulse);
			break;
		}
		view.progress = message->progress;
		view.answered = message->progress.serial;
		if (own.news)
			own.news();
		break;
	default: /* a leave ends with the process */
		break;
	}
}

static void channel_ready(struct watch *watch, uint32_t events)
{
	struct instance *gossip = watch->owner;
	struct supervisor *sv = gossip->supervisor;
	struct gossip_message message;

	(void)events;
	ssize_t n = recv(watch->fd, &message, sizeof(message), MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_close(&sv->loop, watch); /* its exit follows */
		gossip_link_closed(sv);
		return;
	}
	if (!view.cluster || !gossip_message_valid(&message, (size_t)n, GOSSIP_FROM_PROCESS) ||
	    !in_order(&message)) {
		log_warnx("%s: sent an invalid message of %zd bytes: ended", gossip->def->name, n);
		instance_signal(gossip, SIGKILL);
		return;
	}
	received(&message);
}

static void running(bool runs)
{
	if (view.running == runs)
		return;
	view.running = runs;
	view.since_ms = loop_now_ms();
	struct gossip_member self = view.member[view.self - view.cluster->node].said;
	self.index = (uint16_t)(view.self - view.cluster->node);
	add_event(runs ? GOSSIP_EVENT_STARTED : GOSSIP_EVENT_STOPPED, &self, 0);
}

/* ---- what it is told ---- */

static bool same_node(const struct cluster_node *a, const struct cluster_node *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->role, b->role) == 0 &&
	       a->address.address.s_addr == b->address.address.s_addr;
}

/* Another list of nodes: what is known goes along with their names, the history ends. */
static void renumber(const struct cluster *cluster)
{
	static struct gossip_view before;
	bool same = view.cluster && view.cluster->node_count == cluster->node_count;

	for (size_t i = 0; same && i < cluster->node_count; i++)
		same = same_node(&view.cluster->node[i], &cluster->node[i]);
	if (same)
		return;
	before = view;
	memset(view.member, 0, sizeof(view.member));
	for (size_t i = 0; before.cluster && i < cluster->node_count; i++)
		for (size_t j = 0; j < before.cluster->node_count; j++) {
			if (!same_node(&before.cluster->node[j], &cluster->node[i]))
				continue;
			view.member[i] = before.member[j];
			view.member[i].said.index = view.member[i].peer.index = (uint16_t)i;
		}
	view.first_event = ++view.next_event; /* whoever follows, begins anew */
}

static const struct config *current(const struct supervisor *sv)
{
	return own.config ? own.config : sv->config;
}

/* False: refused; the one before stays. */
static bool read_cluster(struct supervisor *sv)
{
	struct config_source source = sv->source;
	static struct config_report report;

	source.profile = NULL;
	memset(&report, 0, sizeof(report));
	struct config *config = config_load(&source, &report);
	if (!config) {
		for (size_t i = 0; i < report.count && i < CONFIG_FINDINGS_MAX; i++)
			log_warnx("%s", report.finding[i]);
		return false;
	}
	if (!config->cluster || !config->self || !config->has_identity) {
		log_warnx("gossip: there is no cluster file any more, or no key: the ones before "
			  "count");
		config_free(config);
		return false;
	}
	renumber(config->cluster);
	view.cluster = config->cluster;
	view.self = config->self;
	config_free(own.config);
	own.config = config;
	return true;
}

static bool tell_self(struct supervisor *sv)
{
	const struct config *config = current(sv);
	struct gossip_message message;

	gossip_message_init(&message, GOSSIP_SELF);
	message.self.index = (uint16_t)(config->self - config->cluster->node);
	message.self.node_count = (uint16_t)config->cluster->node_count;
	message.self.boot_id = sv->boot_id;
	message.self.tags_bytes = (uint8_t)strlen(config->self->tags);
	memcpy(message.self.cluster, config->cluster->name, sizeof(message.self.cluster));
	memcpy(message.self.secret_key, config->identity.secret_key,
	       sizeof(message.self.secret_key));
	memcpy(message.self.tags, config->self->tags, message.self.tags_bytes);
	bool sent = tell(sv, &message);
	explicit_bzero(&message, sizeof(message));
	return sent;
}

/* Of the process before: only what was said by it, in this life of ours. */
static bool tell_known(struct supervisor *sv)
{
	struct gossip_message message;

	for (size_t i = 0; i < view.cluster->node_count; i++) {
		if (!view.member[i].known || view.member[i].said.boot_id == 0)
			continue;
		gossip_message_init(&message, GOSSIP_KNOWN);
		message.member = view.member[i].said;
		message.member.change = GOSSIP_CHANGE_NUMBERS;
		message.member.conflict = GOSSIP_CONFLICT_NONE;
		message.member.elsewhere = 0;
		message.member.sequence = 0;
		if (!tell(sv, &message))
			return false;
	}
	return true;
}

static bool tell_nodes(struct supervisor *sv)
{
	const struct cluster *cluster = view.cluster;
	struct gossip_message message;

	for (size_t i = 0; i < cluster->node_count; i++) {
		const struct cluster_node *node = &cluster->node[i];
		gossip_message_init(&message, GOSSIP_NODE);
		message.node.index = (uint16_t)i;
		message.node.port = cluster->gossip_port;
		message.node.address = node->address.address.s_addr;
		message.node.key_count = (uint8_t)node->key_count;
		memcpy(message.node.name, node->name, sizeof(message.node.name));
		memcpy(message.node.role, node->role, sizeof(message.node.role));
		memcpy(message.node.key, node->key, sizeof(message.node.key));
		if (!tell(sv, &message))
			return false;
	}
	return true;
}

static bool tell_all(struct supervisor *sv, bool fresh)
{
	if (tell_self(sv) && (!fresh || tell_known(sv)) && tell_nodes(sv))
		return true;
	log_warnx("gossip: could not be told who is in the cluster: ended");
	instance_signal(sv->instance[sv->gossip], SIGKILL);
	return false;
}

void gossip_link_opened(struct supervisor *sv, struct instance *gossip)
{
	int room = 1 << 20; /* the largest cluster at once */

	pulse_new(&own.pulse);
	if (setsockopt(gossip->channel.fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(gossip->channel.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	gossip->channel.ready = channel_ready;
	if (loop_add(&sv->loop, &gossip->channel, EPOLLIN) < 0)
		log_warn("watch the gossip process");
	if (!sv->config->cluster || !sv->config->has_identity)
		return;
	read_cluster(sv);
	if (!view.cluster) {
		view.cluster = sv->config->cluster;
		view.self = sv->config->self;
	}
	own.sequence = 0;
	running(true);
	sv->told_ready = false;
	if (tell_all(sv, true))
		gossip_link_update(sv);
}

void gossip_link_closed(struct supervisor *sv)
{
	sv->told_ready = false;
	own.asked = view.answered;
	running(false);
}

bool gossip_link_reload(struct supervisor *sv)
{
	if (!process_of(sv) || !view.cluster)
		return true;
	return read_cluster(sv) && tell_all(sv, false);
}

void gossip_link_update(struct supervisor *sv)
{
	struct gossip_message message;
	unsigned ready, failed;

	if (!view.running || !process_of(sv))
		return;
	bool all = supervise_all_ready(sv, &ready, &failed) && sv->goal == GOAL_RUN;
	gossip_message_init(&message, GOSSIP_READY);
	message.ready.ready = all;
	message.ready.services = (uint16_t)sv->count;
	message.ready.services_ready = (uint16_t)ready;
	message.ready.services_failed = (uint16_t)failed;
	if (sv->told_ready && memcmp(&message.ready, &sv->told, sizeof(message.ready)) == 0)
		return;
	if (tell(sv, &message)) {
		sv->told = message.ready;
		sv->told_ready = true;
	}
}

void gossip_link_ping(struct supervisor *sv)
{
	struct gossip_message message;

	gossip_message_init(&message, GOSSIP_PING);
	tell(sv, &message);
}

struct pulse *gossip_link_pulse(void)
{
	return &own.pulse;
}

const struct instance *gossip_link_process(const struct supervisor *sv)
{
	return view.running ? process_of(sv) : NULL;
}

void gossip_link_leave(struct supervisor *sv)
{
	struct gossip_message message;

	if (!view.running)
		return;
	gossip_message_init(&message, GOSSIP_LEAVE);
	tell(sv, &message);
}

uint64_t gossip_link_ask(struct supervisor *sv)
{
	struct gossip_message message;

	if (!view.running)
		return 0;
	if (own.asked != view.answered)
		return own.asked; /* on its way already */
	gossip_message_init(&message, GOSSIP_QUERY);
	message.query.serial = own.asked + 1;
	if (!tell(sv, &message))
		return 0;
	return ++own.asked;
}
