// The client of the benchmark: one thread, epoll, keep-alive connections, times in a log-linear histogram.
// usage: load-generator MODE PORT CONNECTIONS RATE WARMUP_S SECONDS KEY < request body
//   closed   every connection sends its next request when the answer to the last is complete (saturation)
//   open     RATE requests per second at fixed instants, whatever the answers do; time runs from the instant at which a
//            request was due, so a stalled candidate cannot hide the requests that it kept waiting
//            (with a body that asks for endless streams: CONNECTIONS streams, opened at RATE per second, read to the end)
// Prints "begin" and "end" when the measured seconds begin and end (the runner reads the candidate's CPU time then),
// then one line of JSON. An answer that is not a 200, or a lost connection, counts as an error.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SUB_BUCKETS = 128, BUCKETS = 64 * SUB_BUCKETS, READ_MAX = 131072, HEAD_MAX = 4096, STAMP_DIGITS = 20, BODY_MAX = 1 << 20 };
enum reading { IDLE, HEAD, LENGTH, CHUNKED };

typedef struct {
  int fd;
  enum reading reading;
  uint64_t due_ns;        // instant from which the answer's time is counted
  size_t head_bytes;
  char head[HEAD_MAX];
  size_t body_left;       // LENGTH
  char tail[7];           // CHUNKED: the last bytes seen, to find "\r\n0\r\n\r\n"
  int stamp_digits;       // -1: outside a time stamp, else digits read so far
  uint64_t stamp;
} connection;

// Each power of two is divided into SUB_BUCKETS: values are kept to better than 1 %.
typedef struct {
  uint64_t count[BUCKETS], total, max;
} histogram;

static int epoll_fd;
static struct sockaddr_in address;
static char *request;
static size_t request_bytes;
static connection *connections;
static connection **idle;
static int idle_count;
static histogram latency, chunk_delay;
static uint64_t requests, chunks, errors, begin_ns, end_ns;
static int measuring;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static int bucket_of(uint64_t value) {
  if (value < SUB_BUCKETS) return (int)value;
  int shift = 63 - __builtin_clzll(value) - 7;
  return (shift + 1) * SUB_BUCKETS + (int)((value >> shift) & (SUB_BUCKETS - 1));
}

static double bucket_middle(int bucket) {
  if (bucket < SUB_BUCKETS) return bucket;
  int shift = bucket / SUB_BUCKETS - 1;
  return ((double)((uint64_t)SUB_BUCKETS + (uint64_t)(bucket % SUB_BUCKETS)) + 0.5) * (double)(1ULL << shift);
}

static void record(histogram *h, uint64_t value_ns) {
  h->count[bucket_of(value_ns)]++;
  h->total++;
  if (value_ns > h->max) h->max = value_ns;
}

static void print_percentiles(const char *name, histogram *h) {
  static const struct { const char *name; double share; } wanted[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
  printf(",\"%s\":{\"count\":%lu", name, h->total);
  for (int i = 0; i < 4 && h->total > 0; i++) {
    uint64_t seen = 0, need = (uint64_t)((double)h->total * wanted[i].share);
    int bucket = 0;
    while (bucket < BUCKETS - 1 && (seen += h->count[bucket]) <= need) bucket++;
    printf(",\"%s\":%.1f", wanted[i].name, bucket_middle(bucket) / 1000);
  }
  if (h->total > 0) printf(",\"max\":%.1f", (double)h->max / 1000);
  printf("}");
}

static void count_error(const char *what) {
  if (errors++ < 3) fprintf(stderr, "load-generator: %.120s\n", what);
}

static void open_connection(connection *c) {
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
    perror("load-generator: connect");
    exit(1);
  }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  c->reading = IDLE;
  c->stamp_digits = -1;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void send_request(connection *c, uint64_t due_ns) {
  c->due_ns = due_ns;
  c->reading = HEAD;
  c->head_bytes = 0;
  memset(c->tail, 0, sizeof c->tail);
  for (size_t sent = 0; sent < request_bytes;) {
    ssize_t n = send(c->fd, request + sent, request_bytes - sent, MSG_NOSIGNAL);
    if (n <= 0) return; // the reading side sees the lost connection
    sent += (size_t)n;
  }
}

static void finish_answer(connection *c) {
  c->reading = IDLE;
  idle[idle_count++] = c;
  if (!measuring) return;
  requests++;
  record(&latency, now_ns() - c->due_ns);
}

// Finds the time stamps behind '@' in a piece of a stream, wherever the pieces were cut.
static void read_stamps(connection *c, const char *text, size_t bytes, uint64_t now) {
  const char *end = text + bytes;
  while (text < end) {
    if (c->stamp_digits < 0) {
      text = memchr(text, '@', (size_t)(end - text));
      if (!text) return;
      text++;
      c->stamp_digits = 0;
      c->stamp = 0;
    }
    while (text < end && c->stamp_digits < STAMP_DIGITS) {
      c->stamp = c->stamp * 10 + (uint64_t)(*text++ - '0');
      c->stamp_digits++;
    }
    if (c->stamp_digits < STAMP_DIGITS) return;
    c->stamp_digits = -1;
    if (!measuring) continue;
    chunks++;
    record(&chunk_delay, now > c->stamp ? now - c->stamp : 0);
  }
}

static void read_chunked(connection *c, const char *text, size_t bytes) {
  read_stamps(c, text, bytes, now_ns());
  size_t kept = sizeof c->tail;
  if (bytes >= kept) {
    memcpy(c->tail, text + bytes - kept, kept);
  } else {
    memmove(c->tail, c->tail + bytes, kept - bytes);
    memcpy(c->tail + kept - bytes, text, bytes);
  }
  if (memcmp(c->tail, "\r\n0\r\n\r\n", kept) == 0) finish_answer(c);
}

static void read_body(connection *c, const char *text, size_t bytes) {
  if (c->reading == CHUNKED) {
    read_chunked(c, text, bytes);
    return;
  }
  c->body_left -= bytes < c->body_left ? bytes : c->body_left;
  if (c->body_left == 0) finish_answer(c);
}

static void read_head(connection *c, const char *text, size_t bytes) {
  size_t room = HEAD_MAX - 1 - c->head_bytes, taken = bytes < room ? bytes : room;
  memcpy(c->head + c->head_bytes, text, taken);
  c->head[c->head_bytes + taken] = 0;
  char *end = strstr(c->head, "\r\n\r\n");
  if (!end) {
    c->head_bytes += taken;
    if (taken < bytes) exit(5);
    return;
  }
  size_t used = (size_t)(end + 4 - c->head) - c->head_bytes;
  end[2] = 0;
  if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) count_error(c->head);
  char *length = strcasestr(c->head, "\r\ncontent-length:");
  c->reading = length ? LENGTH : CHUNKED;
  c->body_left = length ? strtoul(length + 17, NULL, 10) : 0;
  read_body(c, text + used, bytes - used);
}

static void read_connection(connection *c) {
  static char buffer[READ_MAX];
  ssize_t got = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got > 0 && c->reading == HEAD) read_head(c, buffer, (size_t)got);
  else if (got > 0 && c->reading != IDLE) read_body(c, buffer, (size_t)got);
  else if (got <= 0) {
    int was_idle = c->reading == IDLE;
    if (!was_idle) count_error("the connection was lost during an answer");
    close(c->fd);
    open_connection(c);
    if (!was_idle) idle[idle_count++] = c;
  }
}

// Handles what is ready, waiting until `until_ns` at most.
static void poll_once(uint64_t until_ns) {
  struct epoll_event events[512];
  uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
  struct timespec timeout = {(time_t)(left / 1000000000ULL), (long)(left % 1000000000ULL)};
  int ready = epoll_pwait2(epoll_fd, events, 512, &timeout, NULL);
  for (int i = 0; i < ready; i++) read_connection(events[i].data.ptr);
}

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void run_closed(void) {
  while (now_ns() < end_ns) {
    while (idle_count > 0) send_request(idle[--idle_count], now_ns());
    poll_once(end_ns);
  }
}

static void run_open(double rate, uint64_t *next_ns) {
  uint64_t gap_ns = (uint64_t)(1e9 / rate);
  while (now_ns() < end_ns) {
    for (; *next_ns <= now_ns() && idle_count > 0; *next_ns += gap_ns) send_request(idle[--idle_count], *next_ns);
    poll_once(*next_ns < end_ns && idle_count > 0 ? *next_ns : end_ns);
  }
}

static void build_request(const char *key) {
  static char body[BODY_MAX];
  size_t bytes = fread(body, 1, sizeof body, stdin);
  request = malloc(bytes + 1024);
  int head = snprintf(request, 1024,
                      "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                      "Accept: */*\r\nUser-Agent: bench\r\nContent-Length: %zu\r\n\r\n",
                      key, bytes);
  memcpy(request + head, body, bytes);
  request_bytes = (size_t)head + bytes;
}

static void run_phase(const char *mode, double rate, double seconds, uint64_t *next_ns) {
  begin_ns = now_ns();
  end_ns = begin_ns + (uint64_t)(seconds * 1e9);
  if (strcmp(mode, "closed") == 0) run_closed();
  else run_open(rate, next_ns);
}

int main(int argc, char **argv) {
  if (argc != 8) return fprintf(stderr, "usage: load-generator MODE PORT CONNECTIONS RATE WARMUP_S SECONDS KEY < body\n"), 2;
  const char *mode = argv[1];
  int count = atoi(argv[3]);
  double rate = atof(argv[4]), warmup = atof(argv[5]), seconds = atof(argv[6]);
  signal(SIGPIPE, SIG_IGN);
  address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  epoll_fd = epoll_create1(0);
  connections = calloc((size_t)count, sizeof *connections);
  idle = calloc((size_t)count, sizeof *idle);
  build_request(argv[7]);
  for (int i = 0; i < count; i++) {
    open_connection(&connections[i]);
    idle[idle_count++] = &connections[i];
  }
  uint64_t next_ns = now_ns();
  run_phase(mode, rate, warmup, &next_ns);
  measuring = 1;
  printf("begin\n");
  fflush(stdout);
  double cpu_before = cpu_seconds();
  run_phase(mode, rate, seconds, &next_ns);
  measuring = 0;
  double took = (double)(now_ns() - begin_ns) / 1e9;
  printf("end\n");
  printf("{\"seconds\":%.6f,\"requests\":%lu,\"chunks\":%lu,\"errors\":%lu,\"open\":%d,\"cpuSeconds\":%.6f", took, requests, chunks, errors,
         count - idle_count, cpu_seconds() - cpu_before);
  print_percentiles("latencyMicros", &latency);
  print_percentiles("chunkDelayMicros", &chunk_delay);
  printf("}\n");
  return 0;
}
