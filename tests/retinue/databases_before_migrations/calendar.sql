BEGIN TRANSACTION;
CREATE TABLE event (
	event_id VARCHAR(32) NOT NULL, 
	uid VARCHAR(64), 
	title VARCHAR(300) NOT NULL, 
	starts_at DATETIME NOT NULL, 
	ends_at DATETIME NOT NULL, 
	timezone VARCHAR(64) NOT NULL, 
	location VARCHAR(500), 
	description TEXT, 
	attendees JSON NOT NULL, 
	recurrence VARCHAR(500), 
	excluded JSON NOT NULL, 
	busy BOOLEAN NOT NULL, 
	PRIMARY KEY (event_id), 
	UNIQUE (uid)
);
INSERT INTO "event" VALUES('7bb4b3475c4c4d66980304a6727a64db',NULL,'Dentist','2026-12-01 08:00:00.000000','2026-12-01 09:00:00.000000','Europe/Berlin',NULL,NULL,'["Ana"]',NULL,'[]',1);
CREATE TABLE ledger (
	"key" VARCHAR(500) NOT NULL, 
	tool VARCHAR(100) NOT NULL, 
	args_hash VARCHAR(64) NOT NULL, 
	result TEXT NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "ledger" VALUES('a-1/s1','calendar.create_event','1cc9c8232c33a401c2dc0fec5978404dddf09e35c4217878919ff7af04fd1252','{"event_id":"7bb4b3475c4c4d66980304a6727a64db","title":"Dentist","start":"2026-12-01T09:00:00+01:00","end":"2026-12-01T10:00:00+01:00","timezone":"Europe/Berlin","location":null,"description":null,"attendees":["Ana"],"recurrence":null}','2026-11-22 19:10:07.741393');
CREATE INDEX ix_event_starts_at ON event (starts_at);
COMMIT;
