use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

fn main() {
    let begin = Instant::now();
    let (jobs, inbox) = mpsc::sync_channel::<u64>(4);
    let (results, outbox) = mpsc::channel();
    let inbox = Arc::new(Mutex::new(inbox));
    let workers: Vec<_> = (0..6)
        .map(|me| {
            let (inbox, results) = (Arc::clone(&inbox), results.clone());
            thread::Builder::new().name(format!("worker {me}")).spawn(move || loop {
                let Ok(job) = inbox.lock().unwrap().recv() else { break };
                results.send((me, (0..job * 100).fold(job, |a, b| a.wrapping_mul(31) ^ b))).unwrap();
            })
        })
        .collect();
    drop(results);
    for job in 0..150 {
        jobs.send(job).unwrap();
    }
    drop(jobs);
    let order: String = outbox.iter().map(|(me, _)| char::from(b'a' + me)).collect();
    for worker in workers {
        worker.unwrap().join().unwrap();
    }
    assert_eq!(order.len(), 150);
    println!("{order} {:?}", begin.elapsed());

    let table = RwLock::new(HashMap::new());
    let failed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for me in 0..4 {
            let (table, failed) = (&table, &failed);
            scope.spawn(move || {
                for n in 0..50 {
                    if let Ok(mut table) = table.try_write() {
                        *table.entry(n % 7).or_insert(0) += me;
                    } else {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    let _ = table.read().unwrap().len();
                }
            });
        }
    });
    println!("{:?} {} failed", table.into_inner().unwrap(), failed.into_inner());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    println!("{address}");
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(5) {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            write!(stream, "{} {:?}", line.trim(), SystemTime::now()).unwrap();
        }
    });
    for n in 0..5 {
        let mut stream = TcpStream::connect(address).unwrap();
        writeln!(stream, "client {n} {}", stream.local_addr().unwrap()).unwrap();
        println!("{}", std::io::read_to_string(stream).unwrap());
    }
    server.join().unwrap();

    let pair = (Mutex::new(false), Condvar::new());
    let late = pair.1.wait_timeout(pair.0.lock().unwrap(), Duration::from_millis(3)).unwrap();
    assert!(late.1.timed_out());
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "to {}", std::process::id()).unwrap();
    println!("{}", String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim());
}
