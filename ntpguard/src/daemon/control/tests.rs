use super::*;

async fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn daemon(directory: &Path) -> PathBuf {
    let path = socket_path(directory);
    let listener = listen(&path).unwrap();
    let (calls, mut called) = mpsc::channel::<Call>(1);
    let server = Server::begin(listener, calls, Arc::new(EventHub::new()));
    tokio::spawn(async move {
        while let Some(call) = called.recv().await {
            let answer = match call.request {
                Request::Status => Reply::Yielding,
                other => Reply::Failed(format!("{other:?}")),
            };
            drop(call.answer.send(answer));
        }
        drop(server);
    });
    path
}

#[tokio::test]
async fn a_question_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let path = daemon(directory.path());
    assert_eq!(
        ask(&path, &Request::Status).await.unwrap(),
        Some(Reply::Yielding)
    );
}

#[tokio::test]
async fn nonsense_is_answered_too_and_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = daemon(directory.path());
    let stream = UnixStream::connect(&path).await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    for nonsense in ["\n", "{}\n", "[1,2\n", "{\"ask\":\"reboot\"}\n"] {
        write.write_all(nonsense.as_bytes()).await.unwrap();
        let answer = lines.next_line().await.unwrap().unwrap();
        assert!(answer.contains("invalid request"), "{answer}");
    }
    assert_eq!(
        ask(&path, &Request::Status).await.unwrap(),
        Some(Reply::Yielding)
    );
}

#[tokio::test]
async fn who_stalls_makes_room_for_who_asks() {
    let directory = tempfile::tempdir().unwrap();
    let path = daemon(directory.path());
    let mut stalled = Vec::new();
    for _ in 0..2 * MOST {
        let mut stream = connect(&path).await;
        stream.write_all(b"{\"ask\":").await.unwrap();
        stalled.push(stream);
    }
    assert_eq!(
        ask(&path, &Request::Status).await.unwrap(),
        Some(Reply::Yielding)
    );
    // The first of them was hung up on, the last was not.
    let mut byte = [0];
    assert!(!matches!(stalled[0].read(&mut byte).await, Ok(1..)));
    let last = stalled.last_mut().unwrap();
    last.write_all(b"\"status\"}\n").await.unwrap();
    assert_eq!(last.read(&mut byte).await.unwrap(), 1);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    let listener = listen(&path).unwrap();
    let (calls, mut called) = mpsc::channel::<Call>(1);
    let question = b"{\"ask\":\"update\"}\n";
    let mut gone = connect(&path).await;
    gone.write_all(question).await.unwrap();
    drop(gone);
    let mut waiting = connect(&path).await;
    waiting.write_all(question).await.unwrap();
    waiting.shutdown().await.unwrap();
    let server = Server::begin(listener, calls, Arc::new(EventHub::new()));
    let call = called.recv().await.unwrap();
    call.answer.send(Reply::Yielding).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "\"yielding\"\n");
    assert!(called.try_recv().is_err(), "the other one's");
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_in_time_is_hung_up_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = daemon(directory.path());
    let mut stream = connect(&path).await;
    let mut byte = [0];
    let read = timeout(2 * QUESTION, stream.read(&mut byte)).await;
    assert_eq!(read.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_daemon_that_ends_says_so_to_all_that_ask() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    let listener = listen(&path).unwrap();
    let (calls, called) = mpsc::channel::<Call>(1);
    let server = Server::begin(listener, calls, Arc::new(EventHub::new()));
    // One is waited for, one is connected, and one is not accepted yet.
    let first = tokio::spawn({
        let path = path.clone();
        async move { ask(&path, &Request::List).await }
    });
    let mut second = connect(&path).await;
    sleep(Duration::from_millis(50)).await;
    let mut third = connect(&path).await;
    third.write_all(b"{\"ask\":\"list\"}\n").await.unwrap();
    drop(called);
    second.write_all(b"{\"ask\":\"list\"}\n").await.unwrap();
    server.end().await;
    assert_eq!(first.await.unwrap().unwrap(), Some(Reply::Ending));
    for mut stream in [second, third] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "\"ending\"\n");
    }
}

#[tokio::test]
async fn only_root_may_open_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    let _listener = listen(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
