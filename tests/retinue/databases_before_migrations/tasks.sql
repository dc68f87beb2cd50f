BEGIN TRANSACTION;
CREATE TABLE ledger (
	"key" VARCHAR(500) NOT NULL, 
	tool VARCHAR(100) NOT NULL, 
	args_hash VARCHAR(64) NOT NULL, 
	result TEXT NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "ledger" VALUES('a-1/s1','tasks.add','4e106dfde7388a82a87a4a801a4c33a99a0ee451f5adced4aaf3efc8bba060f3','{"task_id":"d9d58593891444f157ef2e9ca0548654","title":"Water the plants","due":"2027-01-01","done":false,"notes":null,"remind_at":null,"reminded_at":null}','2026-11-22 19:10:07.999102');
INSERT INTO "ledger" VALUES('a-1/s2','tasks.remind','decf8145a37cf43af6434f7497a77e87adec5ad63c4bf1839b3d15353c6df719','{"task_id":"ece7b2c2f2022936881eec62bd9fa681","title":"Call Bo","at":"2030-01-01T09:00:00+02:00","status":"planned"}','2026-11-22 19:10:08.007288');
CREATE TABLE task (
	task_id VARCHAR(32) NOT NULL, 
	title VARCHAR(300) NOT NULL, 
	notes TEXT, 
	due_on DATE, 
	due_at DATETIME, 
	"offset" INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	done_at DATETIME, 
	remind_at DATETIME, 
	reminded_at DATETIME, 
	cancelled_at DATETIME, 
	PRIMARY KEY (task_id)
);
INSERT INTO "task" VALUES('d9d58593891444f157ef2e9ca0548654','Water the plants',NULL,'2027-01-01',NULL,0,'2026-11-22 19:10:07.994778',NULL,NULL,NULL,NULL);
INSERT INTO "task" VALUES('ece7b2c2f2022936881eec62bd9fa681','Call Bo',NULL,NULL,NULL,7200,'2026-11-22 19:10:08.005890',NULL,'2030-01-01 07:00:00.000000',NULL,NULL);
COMMIT;
