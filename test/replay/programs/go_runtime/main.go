package main

import (
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

type node struct {
	left, right *node
	filler      [10]int
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{left: tree(depth - 1), right: tree(depth - 1)}
}

func (n *node) count() int {
	if n == nil {
		return 0
	}
	return 1 + n.left.count() + n.right.count()
}

func main() {
	var wait sync.WaitGroup
	var mutex sync.Mutex
	order := []byte{}
	for i := 0; i < 20; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			total := 0
			for k := 0; k < 5; k++ {
				total += tree(8).count()
				mutex.Lock()
				order = append(order, byte('a'+i))
				mutex.Unlock()
			}
			if total != 5*511 {
				os.Exit(1)
			}
		}()
	}
	wait.Wait()
	fmt.Println(string(order))

	var stop atomic.Bool
	var turns atomic.Int64
	var sink uint64
	for i := 0; i < 2; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			value := uint64(i)
			for !stop.Load() {
				for k := 0; k < 20000; k++ {
					value = value*6364136223846793005 + 1
				}
				turns.Add(1)
			}
			atomic.AddUint64(&sink, value)
		}()
	}
	for i := 0; i < 3; i++ {
		time.Sleep(2 * time.Millisecond)
		runtime.GC()
		fmt.Println("collected at", time.Now().UnixNano(), "turns", turns.Load())
	}
	stop.Store(true)
	wait.Wait()

	pipe := make(chan int)
	first := pipe
	for i := 0; i < 100; i++ {
		next := make(chan int)
		go func(in, out chan int) {
			for value := range in {
				out <- value + 1
			}
			close(out)
		}(pipe, next)
		pipe = next
	}
	go func() {
		for i := 0; i < 30; i++ {
			first <- i
		}
		close(first)
	}()
	sum := 0
	for value := range pipe {
		sum += value
	}
	if sum != 30*100+435 {
		os.Exit(2)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	fmt.Println(sink, memory.NumGC, memory.PauseTotalNs, memory.HeapAlloc, runtime.NumGoroutine(), rand.Int63(), os.Getpid())
	for key := range map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5} {
		fmt.Print(key, " ")
	}
	fmt.Println()
}
