// Goroutines with stacks of a few kilobytes, which grow while calls are made on them, and are moved.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
)

func deep(depth int, file *os.File) int {
	var room [64]byte
	if depth == 0 {
		if _, err := file.ReadAt(room[:], 0); err != nil {
			panic(err)
		}
		return syscall.Getppid()
	}
	room[depth%64] = byte(depth)
	if syscall.Getppid() <= 0 {
		panic("getppid")
	}
	result := deep(depth-1, file)
	if room[depth%64] != byte(depth) {
		panic("stack")
	}
	return result
}

func main() {
	file, err := os.Open("/bin/sh")
	if err != nil {
		panic(err)
	}
	parent := syscall.Getppid()
	var group sync.WaitGroup
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func(depth int) {
			defer group.Done()
			if deep(depth, file) != parent {
				panic("parent")
			}
			runtime.Gosched()
		}(10 + i)
		if i%25 == 0 {
			runtime.GC()
		}
	}
	group.Wait()
	fmt.Println("done")
}
