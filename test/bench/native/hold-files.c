// Keeps files in memory until it is ended: `hold-files FILE...` prints "held" once they are there.
//
// Some hosts page out what their samples find idle (DAMON), a program's own code among it: a request then waits for the disk, and the same process
// takes half as much CPU time again a minute later. Whoever measures programs keeps the programs where they are, those of all candidates alike.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i += 1) {
    struct stat about;
    int file = open(argv[i], O_RDONLY);
    if (file < 0 || fstat(file, &about) != 0) {
      perror(argv[i]);
      return 1;
    }
    if (about.st_size == 0) continue;
    void *bytes = mmap(NULL, about.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED || mlock(bytes, about.st_size) != 0) {
      perror(argv[i]);
      return 1;
    }
  }
  puts("held");
  fflush(stdout);
  for (;;) pause();
}
