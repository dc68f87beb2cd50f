BEGIN TRANSACTION;
CREATE TABLE contact (
	contact_id VARCHAR(32) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	email VARCHAR(254), 
	phone VARCHAR(40), 
	folded_name VARCHAR(4000) NOT NULL, 
	known_by VARCHAR(254) NOT NULL, 
	PRIMARY KEY (contact_id), 
	UNIQUE (folded_name, known_by)
);
INSERT INTO "contact" VALUES('22111a52dab147d6bf2c491e4b328b05','Jörg Müller','jorg@example.com','+34 600 123','jorg muller','jorg@example.com');
CREATE TABLE ledger (
	"key" VARCHAR(500) NOT NULL, 
	tool VARCHAR(100) NOT NULL, 
	args_hash VARCHAR(64) NOT NULL, 
	result TEXT NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "ledger" VALUES('a-1/s1','contacts.add','abeec483d1124f7a8b1e6013f2eaaf81edab16bde3883d6c113d0c6942f0a7fe','{"contact_id":"22111a52dab147d6bf2c491e4b328b05","name":"Jörg Müller","email":"jorg@example.com","phone":"+34 600 123","created":true}','2026-11-22 19:10:07.798793');
COMMIT;
