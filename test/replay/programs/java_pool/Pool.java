import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.concurrent.locks.*;
import java.util.stream.*;

public class Pool {
  static int racy;

  public static void main(String[] args) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(6);
    StringBuffer order = new StringBuffer();
    CountDownLatch latch = new CountDownLatch(120);
    for (int i = 0; i < 120; i++) {
      int number = i;
      pool.execute(() -> {
        byte[][] garbage = new byte[20][];
        for (int k = 0; k < 20; k++) garbage[k] = new byte[5000 + number];
        order.append((char) ('a' + Integer.parseInt(Thread.currentThread().getName().split("-")[3]) - 1));
        for (int k = 0; k < 1000; k++) racy++;
        latch.countDown();
      });
    }
    latch.await();
    pool.shutdown();
    if (order.length() != 120) System.exit(1);
    System.out.println(order + " racy " + racy);
    System.out.println(IntStream.range(0, 200000).parallel().mapToLong(n -> (long) n * n % 7).sum());
    ReentrantLock lock = new ReentrantLock();
    Condition turn = lock.newCondition();
    AtomicInteger next = new AtomicInteger();
    List<Thread> threads = new ArrayList<>();
    for (int me = 0; me < 3; me++) {
      int mine = me;
      Thread thread = new Thread(() -> {
        for (int k = 0; k < 20; k++) {
          lock.lock();
          try {
            while (next.get() % 3 != mine) turn.await(10, TimeUnit.MILLISECONDS);
            next.incrementAndGet();
            turn.signalAll();
          } catch (InterruptedException e) {
            System.exit(2);
          } finally {
            lock.unlock();
          }
        }
      });
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) thread.join();
    ScheduledExecutorService timer = Executors.newScheduledThreadPool(2);
    AtomicInteger ticks = new AtomicInteger();
    ScheduledFuture<?> ticking = timer.scheduleAtFixedRate(ticks::incrementAndGet, 1, 2, TimeUnit.MILLISECONDS);
    Thread.sleep(15);
    ticking.cancel(false);
    timer.shutdownNow();
    List<byte[]> kept = new ArrayList<>();
    for (int i = 0; i < 3000; i++) {
      kept.add(new byte[20000]);
      if (kept.size() > 500) kept.subList(0, 400).clear();
    }
    System.gc();
    Runtime runtime = Runtime.getRuntime();
    System.out.println("turns " + next + " ticks " + ticks + " free " + runtime.freeMemory() + " cpus " + runtime.availableProcessors());
    System.out.println(System.nanoTime() + " " + System.currentTimeMillis() + " " + new Random().nextLong() + " "
        + UUID.randomUUID() + " " + System.identityHashCode(kept) + " " + Map.of(1, 2, 3, 4, 5, 6, 7, 8)
        + " " + ThreadLocalRandom.current().nextInt(1000) + " " + ProcessHandle.current().pid());
  }
}
