// Calls from methods, closures and a goroutine.
package main

import "os"

type shape struct{ name string }

func (s *shape) emit(depth int) int {
	if depth == 0 {
		n, _ := os.Stdout.WriteString(s.name)
		return n
	}
	return s.emit(depth-1) + 1
}

func main() {
	one := &shape{"go\n"}
	one.emit(3)
	func() { one.emit(0) }()
	done := make(chan int)
	go func() { done <- one.emit(1) }()
	<-done
}
