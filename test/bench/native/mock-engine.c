// An OpenAI-compatible engine that does no work: the upstream of every candidate of the benchmark.
// usage: mock-engine PORT. Prints "listening" when it does. One thread, epoll, keep-alive; loopback only.
//
// POST with "stream":true     an SSE event of 220 bytes every "bench_interval_us" microseconds, "max_tokens" of them, then
//                             the usage chunk if the request says include_usage, then [DONE]. Each event carries
//                             CLOCK_MONOTONIC in nanoseconds behind an '@', so that the client can tell its delay.
// any other POST              a chat completion of 608 bytes with usage
// GET                         {} (health checks, model lists)
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_MAX = 65536, EVENT_BYTES = 220, ANSWER_BYTES = 608, CONNECTIONS_MAX = 16384, STAMP_DIGITS = 20 };

typedef struct {
  int fd;
  int heap_index;  // -1: not streaming
  uint64_t due_ns; // instant of the next event
  uint64_t interval_ns;
  long events_left;
  int wants_usage;
  size_t input_bytes;
  char *input;
  size_t unsent_bytes; // rest of an event that the socket did not take
  char unsent[512];
} connection;

static int epoll_fd;
static connection *heap[CONNECTIONS_MAX]; // streams by due_ns, earliest first
static int heap_size;
static uint64_t random_state = 88172645463325252ULL;
static char event_frame[EVENT_BYTES + 16];
static size_t event_frame_bytes;
static char *event_stamp; // the digits inside event_frame
static char answer[2048];
static size_t answer_bytes;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static void heap_put(int index, connection *c) {
  heap[index] = c;
  c->heap_index = index;
}

static void heap_sift(int index) {
  connection *c = heap[index];
  while (index > 0 && heap[(index - 1) / 2]->due_ns > c->due_ns) {
    heap_put(index, heap[(index - 1) / 2]);
    index = (index - 1) / 2;
  }
  for (;;) {
    int child = 2 * index + 1;
    if (child >= heap_size) break;
    if (child + 1 < heap_size && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
    if (heap[child]->due_ns >= c->due_ns) break;
    heap_put(index, heap[child]);
    index = child;
  }
  heap_put(index, c);
}

static void heap_remove(connection *c) {
  if (c->heap_index < 0) return;
  int index = c->heap_index;
  c->heap_index = -1;
  connection *last = heap[--heap_size];
  if (last == c) return;
  heap_put(index, last);
  heap_sift(index);
}

static void close_connection(connection *c) {
  heap_remove(c);
  close(c->fd);
  free(c->input);
  free(c);
}

// Builds text of exactly `bytes` bytes: head, spaces inside a string as padding, tail.
static void pad(char *out, size_t bytes, const char *head, const char *tail) {
  size_t head_bytes = strlen(head), tail_bytes = strlen(tail);
  if (head_bytes + tail_bytes > bytes) exit(3);
  memcpy(out, head, head_bytes);
  memset(out + head_bytes, 'x', bytes - head_bytes - tail_bytes);
  memcpy(out + bytes - tail_bytes, tail, tail_bytes);
}

static void build_answers(void) {
  char body[ANSWER_BYTES];
  pad(body, ANSWER_BYTES,
      "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
      "\"message\":{\"role\":\"assistant\",\"content\":\"",
      "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":64,\"total_tokens\":264}}");
  int head = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", ANSWER_BYTES);
  memcpy(answer + head, body, ANSWER_BYTES);
  answer_bytes = (size_t)head + ANSWER_BYTES;

  char event[EVENT_BYTES];
  pad(event, EVENT_BYTES,
      "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,"
      "\"delta\":{\"content\":\"@00000000000000000000 ",
      "\"},\"finish_reason\":null}]}\n\n");
  int frame = snprintf(event_frame, sizeof event_frame, "%x\r\n", EVENT_BYTES);
  memcpy(event_frame + frame, event, EVENT_BYTES);
  memcpy(event_frame + frame + EVENT_BYTES, "\r\n", 2);
  event_frame_bytes = (size_t)frame + EVENT_BYTES + 2;
  event_stamp = (char *)memchr(event_frame, '@', event_frame_bytes) + 1;
}

static void send_text(connection *c, const char *text, size_t bytes) {
  ssize_t sent = send(c->fd, text, bytes, MSG_NOSIGNAL);
  if (sent < 0) sent = 0;
  size_t rest = bytes - (size_t)sent;
  if (rest > 0 && c->unsent_bytes + rest <= sizeof c->unsent) {
    memcpy(c->unsent + c->unsent_bytes, text + sent, rest);
    c->unsent_bytes += rest;
  }
}

// One event, or the end of the stream. An event that a slow reader leaves no room for is dropped, as nothing may block.
static void send_event(connection *c) {
  if (c->unsent_bytes > 0) {
    ssize_t sent = send(c->fd, c->unsent, c->unsent_bytes, MSG_NOSIGNAL);
    if (sent > 0) {
      memmove(c->unsent, c->unsent + sent, c->unsent_bytes - (size_t)sent);
      c->unsent_bytes -= (size_t)sent;
    }
  }
  c->due_ns += c->interval_ns;
  if (c->unsent_bytes > 0) return;
  if (c->events_left-- > 0) {
    uint64_t stamp = now_ns();
    for (int digit = STAMP_DIGITS - 1; digit >= 0; digit--, stamp /= 10) event_stamp[digit] = (char)('0' + stamp % 10);
    send_text(c, event_frame, event_frame_bytes);
    return;
  }
  static const char usage[] =
      "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[],"
      "\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":64,\"total_tokens\":264}}\n\n";
  char end[512];
  int bytes = 0;
  if (c->wants_usage) bytes = snprintf(end, sizeof end, "%zx\r\n%s\r\n", sizeof usage - 1, usage);
  bytes += snprintf(end + bytes, sizeof end - (size_t)bytes, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
  heap_remove(c);
  send_text(c, end, (size_t)bytes);
}

static long read_number(const char *text, const char *key, long fallback) {
  const char *found = strstr(text, key);
  return found ? strtol(found + strlen(key), NULL, 10) : fallback;
}

static void answer_request(connection *c, const char *head, const char *body) {
  if (strncmp(head, "POST ", 5) != 0) {
    static const char empty[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    send_text(c, empty, sizeof empty - 1);
    return;
  }
  if (!strstr(body, "\"stream\":true")) {
    send_text(c, answer, answer_bytes);
    return;
  }
  static const char start[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
  send_text(c, start, sizeof start - 1);
  c->interval_ns = (uint64_t)read_number(body, "\"bench_interval_us\":", 20000) * 1000ULL;
  c->events_left = read_number(body, "\"max_tokens\":", 64);
  c->wants_usage = strstr(body, "\"include_usage\"") != NULL;
  // A random phase: streams that start together do not beat together.
  c->due_ns = now_ns() + next_random() % (c->interval_ns + 1);
  if (heap_size == CONNECTIONS_MAX) exit(4);
  heap_size++;
  heap_put(heap_size - 1, c);
  heap_sift(heap_size - 1);
}

// Answers the complete requests in the buffer. Returns 0 if the connection is beyond use.
static int take_requests(connection *c) {
  for (;;) {
    c->input[c->input_bytes] = 0;
    char *end = strstr(c->input, "\r\n\r\n");
    if (!end) return c->input_bytes < INPUT_MAX - 1;
    *end = 0;
    char *length = strcasestr(c->input, "\r\ncontent-length:");
    size_t body_bytes = length ? strtoul(length + 17, NULL, 10) : 0;
    if (strcasestr(c->input, "\r\ntransfer-encoding:")) {
      fprintf(stderr, "mock-engine: chunked request bodies are not read\n");
      return 0;
    }
    size_t head_bytes = (size_t)(end - c->input) + 4, total = head_bytes + body_bytes;
    if (total >= INPUT_MAX) return 0;
    if (c->input_bytes < total) {
      *end = '\r';
      return 1;
    }
    char after = c->input[total];
    c->input[total] = 0;
    answer_request(c, c->input, c->input + head_bytes);
    c->input[total] = after;
    memmove(c->input, c->input + total, c->input_bytes - total);
    c->input_bytes -= total;
  }
}

static void read_connection(connection *c) {
  ssize_t got = recv(c->fd, c->input + c->input_bytes, INPUT_MAX - 1 - c->input_bytes, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    close_connection(c);
    return;
  }
  c->input_bytes += (size_t)got;
  if (!take_requests(c)) close_connection(c);
}

static void accept_connections(int listener) {
  int fd, on = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->heap_index = -1;
    c->input = malloc(INPUT_MAX);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: mock-engine PORT\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  build_answers();
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return perror("mock-engine"), 1;
  epoll_fd = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
  printf("listening\n");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[256];
    struct timespec timeout = {0, 0}, *wait = NULL;
    if (heap_size > 0) {
      uint64_t now = now_ns(), due = heap[0]->due_ns;
      uint64_t left = due > now ? due - now : 0;
      timeout.tv_sec = (time_t)(left / 1000000000ULL);
      timeout.tv_nsec = (long)(left % 1000000000ULL);
      wait = &timeout;
    }
    int ready = epoll_pwait2(epoll_fd, events, 256, wait, NULL);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.ptr) read_connection(events[i].data.ptr);
      else accept_connections(listener);
    }
    uint64_t now = now_ns();
    while (heap_size > 0 && heap[0]->due_ns <= now) {
      connection *c = heap[0];
      send_event(c);
      if (c->heap_index >= 0) heap_sift(c->heap_index);
    }
  }
}
